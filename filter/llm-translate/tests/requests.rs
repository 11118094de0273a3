//! Requests: what each dialect says, in the other's words.
#[path = "fixtures/targets.rs"]
mod targets;

use serde_json::{Value, json};
use targets::{from_anthropic, from_openai, target};
use weir_llm_translate::{Dialect, FOREIGN_SIGNATURE, Reason, Server, Target, Thinking, translate};

const ANTHROPIC: Server = Server::Anthropic;

/// A chat with these members beside its one message.
fn chat(members: Value) -> Value {
    let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn message(members: Value) -> Value {
    let mut body = chat(members);
    body["max_tokens"] = json!(100);
    body
}

fn messages(list: Value) -> Value {
    from_openai(&target(ANTHROPIC), &json!({"model": "m", "messages": list})).unwrap()["messages"].clone()
}

#[test]
fn a_chat_becomes_a_message_with_a_cap() {
    let found =
        from_openai(&target(ANTHROPIC), &chat(json!({"stream": true, "temperature": 0.25, "stop": "END"}))).unwrap();
    let text = json!({"type": "text", "text": "Hi"});
    let wanted = json!({"model": "served", "max_tokens": 64_000, "stream": true, "temperature": 0.25,
        "stop_sequences": ["END"], "messages": [{"role": "user", "content": [text]}]});
    assert_eq!(found, wanted);
}

#[test]
fn messages_of_the_system_come_first_and_turns_alternate() {
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": "One."}, {"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]}, {"role": "assistant", "content": " \n"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "refusal": null, "annotations": []}, {"role": "user", "content": "e"}]});
    let found = from_openai(&target(ANTHROPIC), &body).unwrap();
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(found["system"], json!([text("One."), text("Two.")]));
    assert_eq!(
        found["messages"],
        json!([{"role": "user", "content": [text("a"), text("b"), text("c")]},
        {"role": "assistant", "content": [text("d")]}, {"role": "user", "content": [text("e")]}])
    );
}

#[test]
fn parallel_calls_and_their_results_become_blocks() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let found = messages(json!([{"role": "user", "content": "go"},
        {"role": "assistant", "content": null, "tool_calls": [call("call_1", "{\"n\": 1.50}"), call("call_2", "")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]}, {"role": "user", "content": "and?"}]));
    let wanted = json!([{"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"n": 1.50}},
            {"type": "tool_use", "id": "call_2", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "two"}]}, {"type": "text", "text": "and?"}]}]);
    assert_eq!(found, wanted);
}

#[test]
fn pictures_and_documents_become_blocks() {
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
    let file =
        json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}});
    let found = messages(
        json!([{"role": "user", "content": [image("data:image/png;base64,iVBO"), image("https://a.example/b.png"), file]}]),
    );
    let wanted = json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}, "title": "a.pdf"}]);
    assert_eq!(found[0]["content"], wanted);
}

#[test]
fn tools_keep_their_schema_to_the_byte() {
    let schema = r#"{"type":"object","properties":{"z":{"type":"number","minimum":0.10},"a":{"type":"string"}},"required":["z"]}"#;
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"parallel_tool_calls":false,
        "tools":[{{"type":"function","function":{{"name":"f","description":"d","parameters":{schema},"strict":true}}}}],
        "tool_choice":{{"type":"function","function":{{"name":"f"}}}}}}"#
    );
    let there = translate(Dialect::OpenAi, &target(ANTHROPIC), body.as_bytes()).unwrap().body;
    let found: Value = serde_json::from_slice(&there).unwrap();
    assert!(String::from_utf8_lossy(&there).contains(&format!("\"input_schema\":{schema}")));
    assert_eq!(found["tool_choice"], json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}));
    let back = translate(Dialect::Anthropic, &target(Server::OpenAi), &there).unwrap().body;
    assert!(String::from_utf8_lossy(&back).contains(&format!("\"parameters\":{schema}")));
}

#[test]
fn a_strict_schema_is_a_format_and_json_alone_is_a_tool() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let strict = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}});
    let found =
        from_openai(&target(ANTHROPIC), &chat(json!({"response_format": strict, "reasoning_effort": "high"}))).unwrap();
    assert_eq!(found["output_config"], json!({"effort": "high", "format": {"type": "json_schema", "schema": schema}}));
    let found = from_openai(&target(ANTHROPIC), &chat(json!({"response_format": {"type": "json_object"}}))).unwrap();
    assert_eq!(found["tool_choice"], json!({"type": "tool", "name": "answer_in_json"}));
    let loose = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    assert_eq!(from_openai(&target(ANTHROPIC), &chat(loose)).unwrap_err().reason, Reason::NoCounterpart);
}

#[test]
fn an_effort_is_a_budget_where_the_model_wants_one() {
    let budget = Target { thinking: Thinking::Budget, ..target(ANTHROPIC) };
    let thinking = |members: Value| from_openai(&budget, &chat(members)).map(|body| body["thinking"].clone());
    assert_eq!(
        thinking(json!({"reasoning_effort": "medium", "max_completion_tokens": 20000})).unwrap()["budget_tokens"],
        8192
    );
    assert_eq!(
        thinking(json!({"reasoning_effort": "high", "max_completion_tokens": 3000})).unwrap()["budget_tokens"],
        1500
    );
    assert_eq!(thinking(json!({"reasoning_effort": "high", "max_completion_tokens": 200})).unwrap(), Value::Null);
    assert_eq!(thinking(json!({"reasoning_effort": "none"})).unwrap(), json!({"type": "disabled"}));
    assert!(thinking(json!({"reasoning_effort": "low", "temperature": 0.5})).is_err());
    let never = Target { thinking: Thinking::Never, samples: false, ..target(ANTHROPIC) };
    let found = from_openai(&never, &chat(json!({"reasoning_effort": "low", "temperature": 1, "top_p": 0.5}))).unwrap();
    assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["max_tokens", "messages", "model"]);
}

#[test]
fn a_message_becomes_a_chat() {
    let body = message(
        json!({"system": "Be brief.", "stop_sequences": ["a", "b"], "temperature": 1, "stream": true, "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any", "disable_parallel_tool_use": true}}),
    );
    let found = from_anthropic(&target(Server::OpenAi), &body).unwrap();
    let wanted = json!({"model": "served", "max_completion_tokens": 100, "stream": true, "temperature": 1, "stop": ["a", "b"], "user": "u",
        "stream_options": {"include_usage": true, "include_obfuscation": false}, "reasoning_effort": "low", "tool_choice": "required", "parallel_tool_calls": false,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]});
    assert_eq!(found, wanted);
}

#[test]
fn results_of_tools_become_messages_and_their_pictures_follow() {
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}});
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1, "a": [2]}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [{"type": "text", "text": "x"}, picture, {"type": "text", "text": "y"}]},
            {"type": "text", "text": "next", "cache_control": {"type": "ephemeral"}}]}]});
    let found = from_anthropic(&target(Server::OpenAi), &body).unwrap();
    let wanted = json!([{"role": "user", "content": "go"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":[2],\"b\":1}"}}]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: x\ny"},
        {"role": "user", "content": [{"type": "text", "text": "A picture of the tool's result toolu_1:"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}, {"type": "text", "text": "next"}]}]);
    assert_eq!(found["messages"], wanted);
}

#[test]
fn documents_are_files_or_text() {
    let document = |source: Value| json!({"type": "document", "title": "T", "context": "C", "source": source});
    let body = message(json!({"messages": [{"role": "user", "content": [
        document(json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="})),
        document(json!({"type": "text", "media_type": "text/plain", "data": "line"})),
        document(json!({"type": "content", "content": [{"type": "text", "text": "block"}]}))]}]}));
    let found = from_anthropic(&target(Server::OpenAi), &body).unwrap();
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        found["messages"][0]["content"],
        json!([text("C"),
        {"type": "file", "file": {"filename": "T", "file_data": "data:application/pdf;base64,JVBERg=="}}, text("T\nC\nline"), text("T\nC\nblock")])
    );
    assert_eq!(from_anthropic(&target(Server::Vllm), &body).unwrap_err().reason, Reason::NoCounterpart);
}

#[test]
fn each_server_gets_what_it_takes() {
    let body = json!({"model": "m", "max_completion_tokens": 7, "seed": 5, "user": "u", "store": false, "n": 1, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "developer", "content": "D"}, {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"id": "call_abc", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_abc", "content": "r"}]});
    let mistral = from_openai(&target(Server::Mistral), &body).unwrap();
    assert_eq!(
        (&mistral["max_tokens"], &mistral["random_seed"], &mistral["messages"][0]["role"]),
        (&json!(7), &json!(5), &json!("system"))
    );
    let id = mistral["messages"][3]["tool_call_id"].as_str().unwrap();
    assert_eq!((id.len(), &mistral["messages"][2]["tool_calls"][0]["id"]), (9, &json!(id)));
    assert!(
        ["user", "store", "stream_options", "seed", "max_completion_tokens"]
            .iter()
            .all(|name| mistral.get(name).is_none()),
        "{mistral}"
    );
    let vllm = from_openai(&target(Server::Vllm), &body).unwrap();
    assert_eq!((&vllm["max_completion_tokens"], &vllm["user"], vllm.get("store")), (&json!(7), &json!("u"), None));
    let ollama = from_openai(&target(Server::Ollama), &body).unwrap();
    assert_eq!((&ollama["max_tokens"], ollama.get("n"), &ollama["seed"]), (&json!(7), None, &json!(5)));
    for members in [json!({"n": 2}), json!({"tool_choice": "required"}), json!({"logit_bias": {"1": 2}})] {
        assert_eq!(from_openai(&target(Server::Ollama), &chat(members)).unwrap_err().reason, Reason::NoCounterpart);
    }
    let at_url = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}]});
    assert!(from_openai(&target(Server::Ollama), &chat(at_url.clone())).is_err());
    assert!(from_openai(&target(Server::Vllm), &chat(at_url)).is_ok());
}

#[test]
fn what_would_change_the_meaning_makes_a_target_unfit() {
    let cases = [
        json!({"n": 2}),
        json!({"temperature": 1.5}),
        json!({"stop": ["\n"]}),
        json!({"logprobs": true}),
        json!({"frequency_penalty": 0.5}),
        json!({"store": true}),
        json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}),
        json!({"a_new_field": 1}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        json!({"messages": [{"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}),
        json!({"messages": [{"role": "user", "name": "Ann", "content": "a"}]}),
        json!({"messages": [{"role": "user", "content": "  "}]}),
    ];
    for case in cases {
        let unfit = from_openai(&target(ANTHROPIC), &chat(case.clone())).expect_err(&case.to_string());
        assert!(matches!(unfit.reason, Reason::NoCounterpart | Reason::Unknown), "{case}: {unfit}");
    }
    let cases = [
        json!({"top_k": 4}),
        json!({"stop_sequences": ["1", "2", "3", "4", "5"]}),
        json!({"inference_geo": "eu"}),
        json!({"container": "c"}),
        json!({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]}),
        json!({"a_new_field": 1}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}),
    ];
    for case in cases {
        let unfit = from_anthropic(&target(Server::OpenAi), &message(case.clone())).expect_err(&case.to_string());
        assert!(matches!(unfit.reason, Reason::NoCounterpart | Reason::Unknown), "{case}: {unfit}");
    }
}

#[test]
fn a_body_that_no_api_takes_is_not_translated() {
    for body in [
        "",
        "[]",
        "{",
        r#"{"model":"a","model":"b"}"#,
        r#"{"messages":3}"#,
        r#"{"messages":[1]}"#,
        r#"{"messages":[{"role":"x"}]}"#,
    ] {
        for server in [Server::Anthropic, Server::OpenAi, Server::Mistral] {
            let from = if server == Server::Anthropic { Dialect::OpenAi } else { Dialect::Anthropic };
            let unfit = translate(from, &target(server), body.as_bytes()).expect_err(body);
            assert!(matches!(unfit.reason, Reason::Malformed | Reason::Unreadable), "{body}: {unfit}");
        }
    }
}

#[test]
fn the_clients_own_dialect_stays_but_for_the_model() {
    let body = r#"{"model":"auto","x \"y":{"b":1,"a":1.0},"messages":[{"role":"user","content":"h\u0069"}]}"#;
    let found = translate(Dialect::OpenAi, &target(Server::OpenAi), body.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(found.body).unwrap(), body.replace("auto", "served"));
    assert!(!found.answer.is_translated());
}

#[test]
fn foreign_thoughts_do_not_reach_anthropic() {
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "t", "signature": signature});
    let body = message(json!({"messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [thought(FOREIGN_SIGNATURE), {"type": "text", "text": "b"}]}, {"role": "assistant", "content": [thought("own")]}, {"role": "user", "content": "c"}]}));
    let found = from_anthropic(&target(ANTHROPIC), &body).unwrap();
    assert_eq!(found["messages"][1]["content"], json!([{"type": "text", "text": "b"}]));
    assert_eq!(found["messages"][2]["content"], json!([thought("own")]));
}
