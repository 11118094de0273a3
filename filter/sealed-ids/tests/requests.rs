//! Paths, queries, lists and uploads of two tenants of one account.
#[path = "fixtures/guard.rs"]
mod fixtures;

use fixtures::{ACME, GLOBEX, guard, sealed};
use weir_config::shared::Shared;
use weir_sealed_ids::list::Shown;
use weir_sealed_ids::operation::Operation;
use weir_sealed_ids::{Dialect, Kinds, Refused, Sealer, path, upload};

/// What is sent instead of a `GET`'s path, or why it is refused.
fn opened(dialect: Dialect, target: &str, touched: Option<Shared>) -> Result<String, Refused> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
    let opened = path::open(&guard(dialect), ACME, b"GET", (path.as_bytes(), query), touched)?;
    Ok(opened.path.unwrap_or_else(|| target.to_owned()))
}

#[test]
fn ids_are_opened_wherever_the_api_is_mounted() {
    let id = sealed(&guard(Dialect::OpenAi), ACME, "file-1");
    for root in ["/v1", "/openai/v1", "/openai", "/proxy/openai", "/a/b/v1"] {
        let target = format!("{root}/files/{id}?api-version=1");
        assert_eq!(
            opened(Dialect::OpenAi, &target, Some(Shared::Files)).unwrap(),
            format!("{root}/files/file-1?api-version=1")
        );
    }
    for (path, refused) in [
        (format!("/v1/files/{id}/"), Refused::Operation),
        (format!("/v1//files/{id}"), Refused::Operation),
        (format!("/V1/files/{id}"), Refused::Operation),
        (format!("/v1/files/{id}/content/x"), Refused::Operation),
        ("/v1/files/file-1".to_owned(), Refused::NotOwn),
        (format!("/v1/files/{}", id.to_uppercase()), Refused::NotOwn),
        (format!("/v1/vector_stores/{id}"), Refused::NotOwn),
        (format!("/v1/files/{}", sealed(&guard(Dialect::OpenAi), GLOBEX, "file-1")), Refused::NotOwn),
    ] {
        assert_eq!(opened(Dialect::OpenAi, &path, Some(Shared::Files)), Err(refused), "{path}");
    }
    let gemini = sealed(&guard(Dialect::Gemini), ACME, "files/abc");
    assert_eq!(
        opened(Dialect::Gemini, &format!("/v1beta/{gemini}"), Some(Shared::Files)).unwrap(),
        "/v1beta/files/abc"
    );
}

#[test]
fn an_id_that_opens_is_escaped_in_the_path() {
    let guard = guard(Dialect::OpenAi);
    let id = sealed(&guard, ACME, "file-a/../../b?c#d");
    let path = opened(Dialect::OpenAi, &format!("/v1/files/{id}"), Some(Shared::Files)).unwrap();
    assert_eq!(path, "/v1/files/file-a%2F..%2F..%2Fb%3Fc%23d");
}

#[test]
fn a_query_names_what_is_ones_own() {
    let guard = guard(Dialect::OpenAi);
    let (thread, run, message) =
        (sealed(&guard, ACME, "thread_1"), sealed(&guard, ACME, "run_2"), sealed(&guard, ACME, "msg_3"));
    let list = format!("/v1/threads/{thread}/messages?run_id={run}&after={message}&limit=5&order=asc");
    assert_eq!(
        opened(Dialect::OpenAi, &list, Some(Shared::Assistants)).unwrap(),
        "/v1/threads/thread_1/messages?run_id=run_2&after=msg_3&limit=5&order=asc"
    );
    for query in ["run_id=run_2", "after=msg_3", "%61fter=msg_3", "before=msg_3", "RUN_ID=run_2"] {
        let target = format!("/v1/threads/{thread}/messages?{query}");
        assert_eq!(opened(Dialect::OpenAi, &target, Some(Shared::Assistants)), Err(Refused::NotOwn), "{query}");
    }
    let unknown = format!("/v1/threads/{thread}/messages?of=run_AbC123dEf456GhI");
    assert_eq!(opened(Dialect::OpenAi, &unknown, Some(Shared::Assistants)), Err(Refused::UnknownPlace));
}

#[test]
fn a_list_asks_for_the_largest_page_and_shows_the_clients() {
    let guard = guard(Dialect::Anthropic);
    let open =
        |query: &str| path::open(&guard, ACME, b"GET", (b"/v1/files", Some(query.as_bytes())), Some(Shared::Files));
    let opened = open("limit=2&limit=1&x=y").unwrap();
    assert_eq!(opened.path.as_deref(), Some("/v1/files?x=y&limit=1000"));
    assert_eq!(open("before_id=x").unwrap_err(), Refused::Operation);
    assert_eq!(open("after_id=file_1").unwrap_err(), Refused::NotOwn);
    let page = opened.page.unwrap();
    let entry = |id: u32, tenant: &str| format!(r#"{{ "id":"file_{id}", "filename":"weir[{tenant}]a\"b" }}"#);
    let body = |entries: &[String], more: bool| {
        format!(
            r#"{{"data":[{}],"first_id":"file_9","has_more":{more},"last_id":"file_9","x":1.50}}"#,
            entries.join(",")
        )
    };
    let mut sealer = Sealer::new(guard.clone(), ACME, Kinds::NONE);
    let id = |number: u32| sealed(&guard, ACME, &format!("file_{number}"));
    let mut show = |entries: &[String], more: bool| page.show(&mut sealer, body(entries, more).as_bytes());
    let Shown::Page(shown) = show(&[entry(1, ACME), entry(2, GLOBEX), entry(3, ACME)], false) else { panic!() };
    let one = id(1);
    let expected = format!(
        r#"{{"data":[{{ "id":"{one}", "filename":"a\"b" }}],"first_id":"{one}","has_more":true,"last_id":"{one}","x":1.50}}"#
    );
    assert_eq!(String::from_utf8(shown).unwrap(), expected, "every other byte of an entry stays");
    let Shown::Page(none) = show(&[entry(2, GLOBEX)], false) else { panic!() };
    assert_eq!(
        String::from_utf8(none).unwrap(),
        r#"{"data":[],"first_id":null,"has_more":false,"last_id":null,"x":1.50}"#
    );
    let Shown::GoOn(path) = show(&[entry(2, GLOBEX)], true) else { panic!() };
    assert!(path.starts_with("/v1/files?limit=2&limit=1&x=y&after_id=file_"), "{path}");
}

#[test]
fn a_list_that_can_be_read_in_two_ways_is_not_shown() {
    let guard = guard(Dialect::OpenAi);
    let page = path::open(&guard, ACME, b"GET", (b"/v1/batches", None), Some(Shared::Batches)).unwrap().page.unwrap();
    let mut sealer = Sealer::new(guard, ACME, Kinds::NONE);
    for body in [r#"{"data":[],"data":[]}"#, r#"{"data":{}}"#, "[]", "{}", "", r#"{"data":[]"#, r#"{"data":[]} x"#] {
        assert_eq!(page.show(&mut sealer, body.as_bytes()), Shown::Unreadable, "{body}");
    }
    let twice = r#"{"data":[{"id":"batch_1","metadata":{"weir_tenant":"acme"},"metadata":{"weir_tenant":"globex"}}]}"#;
    let Shown::Page(shown) = page.show(&mut sealer, twice.as_bytes()) else { panic!() };
    assert_eq!(shown, br#"{"data":[]}"#, "an entry of two owners is nobody's");
}

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: \
    form-data; name=\"file\"; filename=\"x.jsonl\"\r\nContent-Type: text/plain\r\n\r\nLINES\r\n--b--\r\n";

fn uploaded(form: &str) -> Result<String, Refused> {
    let opened = upload::open(&guard(Dialect::OpenAi), ACME, form.as_bytes(), b"b", true, &|_| Ok(()))?;
    Ok(String::from_utf8(opened).unwrap())
}

#[test]
fn requests_in_an_uploaded_batch_are_requests() {
    let id = sealed(&guard(Dialect::OpenAi), ACME, "file-1");
    let lines = |id: &str| format!("{{\"body\":{{\"file_id\":\"{id}\"}}}}\r\n\n{{\"body\":{{}}}}");
    let sent = uploaded(&FORM.replace("LINES", &lines(&id))).unwrap();
    assert_eq!(sent, FORM.replace("x.jsonl", "weir[acme]x.jsonl").replace("LINES", &lines("file-1")));
    assert_eq!(uploaded(&FORM.replace("LINES", &lines("file-1"))), Err(Refused::NotOwn));
    for lines in ["{'body': 1}", "{\"body\":", "{} {}", "{\"a\":1,}"] {
        assert_eq!(uploaded(&FORM.replace("LINES", lines)), Err(Refused::Unreadable), "{lines}");
    }
    assert!(uploaded(&FORM.replace("batch", "assistants").replace("LINES", "{'")).is_ok(), "any other file is content");
}

#[test]
fn requests_in_an_uploaded_batch_carry_their_owner_and_are_judged() {
    let line = |body: &str| format!(r#"{{"custom_id":"1","method":"POST","url":"/v1/responses","body":{body}}}"#);
    let sent = |body: &str| uploaded(&FORM.replace("LINES", &line(body)));
    let planted = sent(r#"{"store":true,"metadata":{"weir_tenant":"globex"}}"#).unwrap();
    assert!(planted.contains(&line(r#"{"metadata":{"weir_tenant":"acme"},"store":true}"#)), "{planted}");
    assert!(sent(r#"{"store":false}"#).unwrap().contains(&line(r#"{"store":false}"#)));
    assert_eq!(sent(r#"{"store":true,"Store":false}"#), Err(Refused::Ambiguous));
    assert_eq!(uploaded(&FORM.replace("LINES", r#"{"body":{},"body":{}}"#)), Err(Refused::Ambiguous));
    for url in ["/v1/files/file-AbC123dEf456", "/v1/responses?x=file-1", "/v1/files", "/v1/%72esponses"] {
        let elsewhere = line("{}").replace("/v1/responses", url);
        assert_eq!(uploaded(&FORM.replace("LINES", &elsewhere)), Err(Refused::Operation), "{url}");
    }
    assert_eq!(uploaded(&FORM.replace("LINES", &line("{}").replace("POST", "GET"))), Err(Refused::Operation));
    for purpose in ["Batch", "batch ", " batch", "\"batch\"", "other"] {
        let form = FORM.replace("\r\n\r\nbatch\r\n", &format!("\r\n\r\n{purpose}\r\n")).replace("LINES", "{}");
        assert_eq!(uploaded(&form), Err(Refused::Operation), "{purpose}");
    }
    let form = FORM.replace("LINES", &line(r#"{"data_sources":[1]}"#));
    let judged = upload::open(&guard(Dialect::OpenAi), ACME, form.as_bytes(), b"b", true, &|body| {
        assert_eq!(body, br#"{"data_sources":[1]}"#);
        Err(Refused::Operation)
    });
    assert_eq!(judged, Err(Refused::Operation));
}

#[test]
fn a_form_that_can_be_read_in_two_ways_is_refused() {
    let good = FORM.replace("LINES", "{}");
    for (part, other) in [
        ("filename=\"x.jsonl\"", "filename=\"x\"; filename*=utf-8''y"),
        ("filename=\"x.jsonl\"", "filename=\"x\\\"y\""),
        ("; filename=\"x.jsonl\"", ""),
        ("name=\"purpose\"", "name=\"pur%70ose\""),
        ("Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
        (
            "--b\r\nContent-Disposition: form-data; name=\"purpose\"",
            "x--b\r\nContent-Disposition: form-data; name=\"purpose\"",
        ),
        ("--b--\r\n", "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--b--\r\n"),
        ("--b--\r\n", ""),
    ] {
        assert!(good.contains(part));
        assert_eq!(uploaded(&good.replacen(part, other, 1)), Err(Refused::Unreadable), "{other}");
    }
}

#[test]
fn a_list_that_is_paged_by_tokens_is_never_cut() {
    let guard = guard(Dialect::Anthropic);
    let opened =
        path::open(&guard, ACME, b"GET", (b"/v1/files", Some(b"limit=1&page=page_x")), Some(Shared::Files)).unwrap();
    assert_eq!(opened.path.as_deref(), Some("/v1/files?page=page_x&limit=1000"));
    let mut sealer = Sealer::new(guard, ACME, Kinds::NONE);
    let entry = |tenant: &str| format!(r#"{{"id":"file_1","filename":"weir[{tenant}]x"}}"#);
    let body = |tenant: &str, next: &str| format!(r#"{{"data":[{0},{0}],"next_page":{next}}}"#, entry(tenant));
    let page = opened.page.unwrap();
    let Shown::Page(shown) = page.show(&mut sealer, body(ACME, "null").as_bytes()) else { panic!() };
    assert_eq!(String::from_utf8(shown).unwrap().matches("file_").count(), 2);
    let Shown::GoOn(path) = page.show(&mut sealer, body(GLOBEX, "\"page_a/b\"").as_bytes()) else { panic!() };
    assert_eq!(path, "/v1/files?limit=1&page=page_a%2Fb");
}

#[test]
fn a_list_of_googles_asks_for_the_largest_page_whatever_the_client_says() {
    for (query, sent) in [
        ("", "pageSize=100"),
        ("pageSize=1", "pageSize=100"),
        ("page_size=1&pageToken=a%2Fb", "pageToken=a%2Fb&pageSize=100"),
        ("PAGESIZE=1&pageSize=2", "pageSize=100"),
    ] {
        let target = format!("/v1beta/files?{query}");
        assert_eq!(
            opened(Dialect::Gemini, &target, Some(Shared::Files)),
            Ok(format!("/v1beta/files?{sent}")),
            "{query}"
        );
    }
    let cached = opened(Dialect::Gemini, "/v1beta/cachedContents?pageSize=1", Some(Shared::VectorStores));
    assert_eq!(cached.unwrap(), "/v1beta/cachedContents?pageSize=1000");
}

#[test]
fn a_scope_of_anthropics_names_no_raw_id() {
    for scope in ["session_01AbC", "container_x"] {
        let target = format!("/v1/files?scope_id={scope}");
        assert_eq!(opened(Dialect::Anthropic, &target, Some(Shared::Files)), Err(Refused::NotOwn), "{scope}");
    }
}

#[test]
fn an_operation_is_named_without_its_ids() {
    let named =
        |method: &[u8], path: &[u8]| path::operation(&guard(Dialect::OpenAi), method, path).map(Operation::name);
    let name = named(b"DELETE", b"/v1/vector_stores/vs_1/files/file-2");
    assert_eq!(name.as_deref(), Some("DELETE vector_stores/{id}/files/{id}"));
    assert_eq!(named(b"GET", b"/openai/files/file-1/content").as_deref(), Some("GET files/{id}/content"));
    assert_eq!(named(b"POST", b"/v1/responses"), None);
}

#[test]
fn fields_of_any_form_name_ones_own_ids_alone() {
    let guard = guard(Dialect::OpenAi);
    let form = |name: &str, value: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nfile-raw\r\n--b\r\n\
                 Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b--\r\n"
        )
    };
    let open = |name: &str, value: &str| upload::open_fields(&guard, ACME, form(name, value).as_bytes(), b"b");
    let own = sealed(&guard, ACME, "file-1");
    for name in ["images[][file_id]", "images[0][file_id]", "file_id", "mask[file_id]"] {
        let opened = String::from_utf8(open(name, &own).unwrap()).unwrap();
        assert_eq!(opened, form(name, "file-1"), "{name}");
        assert_eq!(open(name, "file-AbC123dEf456"), Err(Refused::NotOwn), "{name}");
    }
    assert_eq!(open("x", "file-AbC123dEf456"), Err(Refused::UnknownPlace));
    assert_eq!(open("model", "ft:gpt-4o:globex::abc"), Err(Refused::NotOwn));
    assert_eq!(open("prompt", "a boat").unwrap(), form("prompt", "a boat").as_bytes());
}
