//! Forms of audio and images: the model stands in a field.
use crate::common::{ACME, config, event, only_mini};
use serde_json::json;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, ok, post};

const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\u{1}\u{2}\r\n";

fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn upload(path: &str, fields: &str) -> Request {
    let form = post(path).bearer(ACME).header("content-type", "multipart/form-data; boundary=b");
    form.body(format!("{FILE}{fields}--b--\r\n"))
}

const TRANSCRIBE: &str = "/v1/audio/transcriptions";

on_both_gateways! {
    fn the_model_of_a_transcription_is_allowed_or_refused(gateway) {
        let gateway = gateway.config(only_mini()).start();
        let good = gateway.send(upload(TRANSCRIBE, &field("model", "mini"))).upstream(ok().json(&json!({"text": "hi"})));
        good.assert_status(200);
        assert_eq!(good.upstream_request().header("x-model"), Some("mini"));
        assert_eq!(event(&gateway)["request_model"], "mini");
        for (fields, status) in [
            (field("model", "large"), 403),
            (String::new(), 403),
            (field("model", "mini") + &field("model", "large"), 400),
            (field("model", "mini") + &field("Model", "large"), 400),
            (field("model", "mini") + &field("fallbacks", "large"), 403),
            (field("model", "mini").replace("name=\"model\"", "name=model"), 400),
        ] {
            let reply = gateway.send(upload(TRANSCRIBE, &fields)).reply();
            assert_eq!(reply.status(), status, "{fields}");
            assert!(!reply.reached_upstream());
        }
    }

    fn the_model_of_a_form_is_replaced_and_the_file_stays(gateway) {
        let plan = json!({"models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}, "n_max": 2});
        let gateway = gateway.config(config(plan)).start();
        let edit = upload("/v1/images/edits", &(field("model", "a-large-one") + &field("n", "9")));
        let upstream = gateway.send(edit).upstream(ok().json(&json!({"data": []}))).upstream_request();
        let expected = format!("{FILE}{}{}--b--\r\n", field("model", "mini"), field("n", "2"));
        assert_eq!(upstream.text(), expected);
        assert_eq!(upstream.header("content-length"), Some(expected.len().to_string().as_str()));
        gateway.send(upload(TRANSCRIBE, "")).reply().assert_status(403);
    }

    fn a_form_that_cannot_be_read_says_what_would_be(gateway) {
        let gateway = gateway.config(only_mini()).start();
        let urlencoded = post(TRANSCRIBE).bearer(ACME).header("content-type", "application/x-www-form-urlencoded");
        let reply = gateway.send(urlencoded.body("model=mini")).reply();
        reply.assert_status(400);
        let message = reply.json()["error"]["message"].clone();
        assert!(message.as_str().is_some_and(|message| message.contains("plain multipart form")), "{message}");
    }
}
