//! Writes the corpus to begin with: one answer of every provider, whole, in pieces, and compressed; hostile requests; and
//! what the targets of identity are seeded with in the tests.
#[path = "../../filter/llm-usage/tests/fixtures/usage/cases.rs"]
mod cases;
#[path = "../../filter/llm-usage/tests/fixtures/usage/harness.rs"]
mod harness;
mod guard;
#[path = "../../filter/tests/fixtures/body/hostile.rs"]
mod hostile;
mod identity;
mod money;
mod translate;

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
            ("redaction", vec![&plain]),
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
    written += request_bodies(&corpus)?;
    for (number, (target, seed)) in identity::seeds().into_iter().enumerate() {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        written += 1;
    }
    for (number, (target, seed)) in money::SEEDS.into_iter().enumerate() {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        written += 1;
    }
    let folder = corpus.join("vector_guard");
    std::fs::create_dir_all(&folder)?;
    for (number, seed) in guard::SEEDS.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        written += 1;
    }
    for (target, seeds) in [("translate_request", translate::REQUESTS), ("translate_answer", translate::ANSWERS)] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), [&[128][..], seed.as_bytes()].concat())?;
            written += 1;
        }
    }
    println!("{written} seeds in {}", corpus.display());
    Ok(())
}

/// A body of each hostile member, and of each two that stand side by side.
fn request_bodies(corpus: &Path) -> std::io::Result<usize> {
    let alone = hostile::MEMBERS.iter().map(|member| format!("{{{member}}}"));
    let pairs = hostile::MEMBERS.windows(2).map(|pair| format!("{{{},{}}}", pair[0], pair[1]));
    let bodies: Vec<String> = alone.chain(pairs).collect();
    for target in ["request_body", "request_edits"] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, body) in bodies.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), body)?;
        }
    }
    Ok(2 * bodies.len())
}
