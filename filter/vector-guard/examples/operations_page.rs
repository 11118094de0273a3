//! Prints `docs/vector-store-operations.md`: `make docs`.
#[path = "../tests/fixtures/page.rs"]
mod page;

fn main() {
    print!("{}", page::page());
}
