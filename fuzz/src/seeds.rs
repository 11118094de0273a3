//! Writes the corpus to begin with: one answer of every provider, whole, in pieces, and compressed; and what the targets of
//! identity are seeded with in the tests.
#[path = "../../filter/tests/fixtures/usage/cases.rs"]
mod cases;
#[path = "../../filter/tests/fixtures/usage/harness.rs"]
mod harness;
mod identity;

use std::io::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut written = 0;
    for (number, case) in cases::all().into_iter().enumerate() {
        let plain = [&[0][..], &case.body].concat();
        let in_pieces = [&[4, 7, 60, 1, 200][..], &case.body].concat();
        let mut gzip = flate2::write::GzEncoder::new(vec![2, 20, 20], flate2::Compression::fast());
        gzip.write_all(&case.body)?;
        let gzip = gzip.finish()?;
        for (target, seeds) in [
            ("usage_reader", vec![&plain, &in_pieces]),
            ("usage_strip", vec![&plain, &in_pieces]),
            ("json_scanner", vec![&plain]),
            ("usage_encoded", vec![&gzip]),
        ] {
            let folder = corpus.join(target);
            std::fs::create_dir_all(&folder)?;
            for (kind, seed) in seeds.into_iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{number}-{kind}")), seed)?;
                written += 1;
            }
        }
    }
    for (number, (target, seed)) in identity::seeds().into_iter().enumerate() {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        written += 1;
    }
    println!("{written} seeds in {}", corpus.display());
    Ok(())
}
