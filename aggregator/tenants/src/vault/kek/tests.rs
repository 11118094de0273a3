use super::*;
use std::os::unix::fs::PermissionsExt;

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn file(mode: u32, text: &str) -> (tempfile::TempDir, Result<Option<Kek>, KeyRingError>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kek");
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    let read = KeySource::File("kek".into()).read(dir.path());
    (dir, read)
}

fn script(text: &str) -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("kms"), text).expect("written");
    let command = vec!["sh".to_owned(), dir.path().join("kms").display().to_string()];
    (dir, command)
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    assert!(matches!(file(0o600, DIGITS).1, Ok(Some(_))));
    for mode in [0o640, 0o604, 0o644] {
        assert!(matches!(file(mode, DIGITS).1, Err(KeyRingError::Open(_))), "{mode:o}");
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    for text in [&DIGITS[1..], "0123456789", "hello hello hello"] {
        let problem = file(0o600, text).1.expect_err("no key").to_string();
        assert!(problem.contains("64 hex digits") && !problem.contains(text), "{problem}");
    }
}

#[test]
fn a_command_wraps_and_unwraps() {
    let (_dir, command) =
        script("read line; if [ \"$1\" = wrap ]; then echo \"wrapped:$line\"; else echo \"${line#wrapped:}\"; fi");
    let kek = Kek::of(Key::random().expect("random"));
    let wrapped = Wrapper(&command).wrap(&kek).expect("wrapped");
    assert!(wrapped.starts_with("wrapped:"));
    assert_eq!(Wrapper(&command).unwrap(&wrapped).expect("unwrapped").id(), kek.id());
}

#[test]
fn a_command_that_fails_says_so_without_what_it_was_given() {
    let (_dir, command) = script("cat >&2; exit 3");
    let problem = Wrapper(&command).unwrap("c2VjcmV0").expect_err("it fails").to_string();
    assert!(problem.contains("unwrap") && problem.contains('3') && !problem.contains("c2VjcmV0"), "{problem}");
    let problem = Wrapper(&["/no/such/program".to_owned()]).unwrap("x").expect_err("not there").to_string();
    assert!(problem.contains("/no/such/program"), "{problem}");
    let (_dir, command) = script("echo short");
    assert!(Wrapper(&command).unwrap("x").is_err());
}

#[test]
fn a_key_in_the_place_of_its_source_is_not_repeated() {
    for json in [format!("\"{DIGITS}\""), format!("{{\"key\": \"{DIGITS}\"}}"), "12345".to_owned()] {
        let problem = serde_json::from_str::<KeySource>(&json).expect_err("no source").to_string();
        assert!(problem.contains("file: PATH") && !problem.contains("0011") && !problem.contains("12345"), "{problem}");
    }
}
