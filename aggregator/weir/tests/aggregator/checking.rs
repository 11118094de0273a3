//! `weir check` as a process: files, standard input, JSON, exit codes.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::commands::{json, weir};

fn sidecar() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/sidecar.yaml")
}

/// Runs `weir check ARGS…` with this text as its standard input.
fn fed(args: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let mut child = command
        .arg("check")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
    child.wait_with_output().expect("run")
}

#[test]
fn a_good_file_is_named_with_what_it_is() {
    let path = sidecar();
    let output = weir(Path::new("."), &["check", path.to_str().expect("text")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.ends_with("sidecar.yaml: good (Envoy's configuration, with one weir filter)\n"), "{said}");
}

#[test]
fn standard_input_is_a_file_and_the_exit_code_says_how_good_it_is() {
    let good = std::fs::read_to_string(sidecar()).expect("a file");
    let costly = good.replace("failure_policy: FAIL_RELOAD", "root_id: weir");
    let wrong = good.replace("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN");
    for (text, code, said) in
        [(good, 0, "standard input: good ("), (costly, 3, "standard input: runs, with 1 warning ("), (wrong, 1, "")]
    {
        let output = fed(&["-"], &text);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(said), "{output:?}");
        let complaints = String::from_utf8_lossy(&output.stderr).matches("standard input:").count();
        assert_eq!(complaints, usize::from(code != 0), "{output:?}");
    }
}

#[test]
fn json_has_every_files_kind_and_problems_with_their_places() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tenants.yaml");
    std::fs::write(&path, "tenants:\n- {id: acme}\n").expect("written");
    let output = fed(&["--json", "-", path.to_str().expect("text"), "nowhere.yaml"], "grace: 5m\n");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]), "{output:?}");
    let judged = json(&output);
    assert_eq!(
        (&judged[0]["file"], &judged[0]["kind"]),
        (&"standard input".into(), &"the server's configuration".into())
    );
    assert_eq!((&judged[0]["errors"], &judged[1]["errors"]), (&0.into(), &1.into()));
    let problem = &judged[1]["problems"][0];
    assert_eq!((&problem["severity"], &problem["line"]), (&"error".into(), &2.into()), "{problem}");
    assert!(problem["message"].as_str().is_some_and(|message| message.contains("plan")), "{problem}");
    assert!(judged[2]["kind"].is_null() && judged[2]["errors"] == 1, "{judged}");
}
