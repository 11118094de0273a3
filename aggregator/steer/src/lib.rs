//! Budgets, the stages they reach, and alerts, over the sums of the ledger.
