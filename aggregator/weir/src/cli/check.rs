//! `weir check`: says what a gateway or the server would do with a configuration file.
//!
//! An error means: it is refused, or it does not do what the file says. A warning means: it runs, and something in it costs
//! more than it seems to. Both point into the file that the user edits, even if the filter's configuration is a text within it.
mod apart;
mod buffers;
mod clusters;
mod document;
mod embedded;
mod envoy;
mod host;
mod kubernetes;
mod named;
mod per_route;
mod point;
mod rules;
mod yaml_1_1;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_filter::config::{Config as FilterConfig, ConfigError, Environment, Policy};
use weir_filter::hash::Keyed;

use super::render::{self, complain, say};
use super::{EXIT_ATTENTION, EXIT_DONE, EXIT_FAILED};
use point::Problem;
use weir_settings::yaml;

/// The types by which Envoy marks a filter's configuration as a structure or a text.
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";
/// The name that stands for standard input, and how messages call it.
const STANDARD_INPUT: (&str, &str) = ("-", "standard input");

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// It runs, and costs more than it seems to.
    Warning,
    /// It is refused, or does not do what it says.
    Error,
}

/// What is wrong with a document, by the path of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    path: String,
    problem: String,
}

impl Finding {
    fn error(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Finding { severity: Severity::Error, path: path.into(), problem: problem.into() }
    }

    fn warning(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, path: path.into(), problem: problem.into() }
    }
}

/// A file's result, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Judged {
    file: String,
    /// What it was judged as; absent where that is unknown.
    kind: Option<String>,
    errors: usize,
    warnings: usize,
    problems: Vec<Shown>,
}

/// A problem of a file.
#[derive(Debug, Serialize)]
struct Shown {
    severity: Severity,
    line: u64,
    column: u64,
    message: String,
    /// As compilers show it: place, message, the line, a caret.
    #[serde(skip)]
    text: String,
}

/// The gateway that is to run a filter's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum CheckedFor {
    /// Envoy, which keeps everything.
    #[default]
    Envoy,
    /// Kong.
    Kong,
}

pub(super) fn run(files: &[PathBuf], gateway: CheckedFor, as_json: bool) -> anyhow::Result<u8> {
    let judged: Vec<Judged> = files.iter().map(|file| judge(file, gateway)).collect();
    if as_json {
        render::json(&judged)?;
    } else {
        judged.iter().for_each(show);
    }
    Ok(if judged.iter().any(|file| file.errors > 0) {
        EXIT_FAILED
    } else if judged.iter().any(|file| file.warnings > 0) {
        EXIT_ATTENTION
    } else {
        EXIT_DONE
    })
}

fn show(judged: &Judged) {
    judged.problems.iter().for_each(|problem| complain!("{}", problem.text));
    let Some(kind) = judged.kind.as_deref().filter(|_| judged.errors == 0) else { return };
    match judged.warnings {
        0 => say!("{}: good ({kind})", judged.file),
        1 => say!("{}: runs, with 1 warning ({kind})", judged.file),
        many => say!("{}: runs, with {many} warnings ({kind})", judged.file),
    }
}

/// Checks one file.
fn judge(path: &Path, gateway: CheckedFor) -> Judged {
    let is_input = path == Path::new(STANDARD_INPUT.0);
    let name = if is_input { Path::new(STANDARD_INPUT.1) } else { path };
    let read = if is_input { read_input() } else { yaml::read_text(path).map_err(|error| error.to_string()) };
    let (kind, problems) = match read {
        Ok(text) => {
            let (kind, problems) = document::check(name, &text, gateway);
            (kind, problems.into_iter().map(|(severity, problem)| shown(severity, &problem, name, &text)).collect())
        }
        Err(error) => (None, vec![shown(Severity::Error, &Problem::without_place(error), name, "")]),
    };
    judged(name, kind, problems)
}

fn judged(name: &Path, kind: Option<String>, problems: Vec<Shown>) -> Judged {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    Judged { file: name.display().to_string(), kind, errors, warnings, problems }
}

fn shown(severity: Severity, problem: &Problem, name: &Path, text: &str) -> Shown {
    let marked = match severity {
        Severity::Error => problem.clone(),
        Severity::Warning => Problem { message: format!("warning: {}", problem.message), ..problem.clone() },
    };
    Shown {
        severity,
        line: problem.location.line,
        column: problem.location.column,
        message: weir_settings::secret::masked(&problem.message),
        text: marked.show(name, text),
    }
}

/// Standard input, at most as much as a file may have.
fn read_input() -> Result<String, String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(yaml::FILE_MAX_BYTES + 1).read_to_string(&mut text);
    let size = read.map_err(|error| format!("{}: {error}", STANDARD_INPUT.1))?;
    if size as u64 > yaml::FILE_MAX_BYTES {
        return Err(format!("{}: larger than {} bytes", STANDARD_INPUT.1, yaml::FILE_MAX_BYTES));
    }
    Ok(text)
}

fn compile(config: FilterConfig) -> Result<(), ConfigError> {
    // The key only spreads hash maps; nobody can choose names to attack them here.
    Policy::compile(config, &Environment::Elsewhere, Keyed::new([0; 16])).map(|_| ())
}

#[cfg(test)]
mod tests;
