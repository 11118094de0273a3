//! Shows what a filter of yours does in both gateways: `cargo run --example any_filter -- path/to/filter.wasm`.
use std::path::Path;

use weir_host_tests::host::FilterModule;
use weir_host_tests::scenario::{Gateway, get, ok, secs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a filter: a .wasm file")?;
    let filter = FilterModule::load(Path::new(&path))?;
    for builder in [Gateway::envoy(), Gateway::kong()] {
        let gateway = builder.filter(filter.clone()).workers(2).config("{}").try_start()?;
        let reply = gateway.worker(1).send(get("/hello").header("x-remove-me", "1")).upstream(ok().body("Hello"));
        println!("{:?}: {} {:?}", gateway.profile(), reply.status(), reply.text());
        if reply.reached_upstream() {
            println!("the upstream got {:?}", reply.upstream_request().headers);
        }
        println!("{} instructions, of which {:?}", reply.fuel(), reply.fuel_by_callback());
        gateway.run_for(secs(60));
        println!("calls under way after a minute of ticks: {:?}", gateway.calls());
    }
    Ok(())
}
