//! The center that gateways are made for.
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall};
use weir_leases::{Center, Timing};

use crate::center::Serve;

/// The center of the product, and its time.
pub(crate) struct Real {
    center: Center,
    now: u64,
}

impl Real {
    pub(crate) fn new() -> Self {
        Real { center: Center::new(1, 1, Timing::default()), now: 1 }
    }
}

impl Serve for Real {
    fn advance(&mut self, now: u64) {
        self.now = now;
    }

    fn call(&mut self, call: &Call) -> Answer {
        call.check().expect("a call in range");
        self.center.call(call, self.now)
    }

    fn draw(&mut self, call: &DrawCall) -> DrawAnswer {
        call.check().expect("a call in range");
        self.center.draw(call, self.now)
    }

    fn forget(&mut self) {
        self.center = Center::forgotten(self.center.epoch() + 1, self.now, Timing::default());
    }
}
