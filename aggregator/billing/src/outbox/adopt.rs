//! Copies the outbox of the living ledger into a rebuilt one.
use weir_database::Place;
use weir_ledger::{LedgerError, SqliteLedger};

/// Copies outbox and audit from the living ledger at `living`: no event log records what was sent, or what operators
/// did.
pub fn adopt_outbox(ledger: &mut SqliteLedger, living: &Place) -> Result<(), LedgerError> {
    let db = ledger.db();
    let both = db.attach(living)?;
    let tx = db.write_transaction()?;
    tx.execute_batch(&both.named(
        "INSERT INTO main.outbox SELECT * FROM living.outbox;
         INSERT INTO main.billing SELECT * FROM living.billing;
         INSERT INTO main.adjustment SELECT * FROM living.adjustment;
         INSERT INTO main.settlement SELECT * FROM living.settlement;
         INSERT INTO main.mapping SELECT * FROM living.mapping;
         INSERT INTO main.anchor SELECT * FROM living.anchor;
         INSERT INTO main.look SELECT * FROM living.look;
         -- It takes the place of the living one: no copy.
         UPDATE main.sender SET (epoch, file, restored_at) = (SELECT epoch, '', restored_at FROM living.sender);
         INSERT INTO main.audit SELECT * FROM living.audit;
         UPDATE main.usage SET outboxed = coalesce(
           (SELECT sum(value) FROM main.outbox o
            WHERE o.kind = 'usage' AND o.window_start = usage.window_start AND o.tenant = usage.tenant
              AND o.meter = usage.meter), 0)",
    ))?;
    tx.commit()?;
    db.detach()?;
    Ok(db.checkpoint_all()?)
}
