//! Imported readings, in whole numbers, so that an amount equals its contribution to a sum.
use fastrand::Rng;

use super::{Gateways, HOUR_MS, Item, Kind, TENANTS};

impl Gateways {
    /// Measures storage at `now_ms`, for the time since the last measurement.
    pub(in super::super) fn measure(&mut self, rng: &mut Rng, now_ms: u64) {
        for _ in 0..rng.usize(1..4) {
            let time_ms = match rng.u8(..20) {
                0..=2 => now_ms + rng.u64(1..20 * HOUR_MS),
                3 => now_ms + 2 * 24 * HOUR_MS,
                4 => now_ms - rng.u64(..20 * 24 * HOUR_MS),
                _ => now_ms - rng.u64(..120_000),
            };
            let tenant = TENANTS[rng.usize(..TENANTS.len())];
            let id = format!("{tenant}/storage/{:016x}", rng.u64(..));
            let reading = self.reading(rng, Kind::Reading, tenant, &id, time_ms);
            self.readings.push(reading);
        }
    }

    /// Takes some waiting readings, mixed with repeats and falsifications of old ones.
    pub(in super::super) fn next_readings(&mut self, rng: &mut Rng, with_noise: bool) -> Vec<usize> {
        rng.shuffle(&mut self.readings);
        let count = self.readings.len().min(rng.usize(1..6));
        let mut batch = self.readings.split_off(self.readings.len() - count);
        if with_noise && !self.items.is_empty() {
            let known = rng.usize(..self.items.len());
            let Item { kind, accepted, time_ms, .. } = self.items[known];
            if kind == Kind::Reading && accepted > 0 {
                let json: serde_json::Value = serde_json::from_slice(&self.items[known].body).expect("a reading");
                let id = json["id"].as_str().expect("an id");
                let tenant = TENANTS[rng.usize(..TENANTS.len())];
                let again = if rng.bool() { known } else { self.reading(rng, Kind::SameReading, tenant, id, time_ms) };
                batch.push(again);
            }
        }
        batch
    }

    fn reading(&mut self, rng: &mut Rng, kind: Kind, tenant: &'static str, id: &str, time_ms: u64) -> usize {
        // A conflicting reading has an amount outside the range of genuine ones.
        let amount = if kind == Kind::Reading { rng.u64(1..500) } else { rng.u64(500..1_000_000) };
        let time = jiff::Timestamp::from_millisecond(time_ms.cast_signed()).expect("a time");
        let body =
            format!(r#"{{"id":"{id}","tenant":"{tenant}","name":"storage","time":"{time}","amount":"{amount}"}}"#);
        let amounts = vec![(time_ms - time_ms % HOUR_MS, tenant, "storage", "", amount)];
        let amounts = if kind == Kind::Reading { amounts } else { Vec::new() };
        let body = body.into_bytes();
        self.push(Item { kind, place: None, id: [0; 16], time_ms, body, amounts, accepted: 0, refused: 0, unknown: 0 })
    }
}
