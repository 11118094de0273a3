//! Price lists of others: what is taken, and what is named because it is not.
use weir_money::prices::import::{Imported, read};

fn models(imported: &Imported) -> Vec<(&str, &str)> {
    imported.entries.iter().map(|entry| (entry.provider.as_deref().unwrap_or_default(), entry.model.as_str())).collect()
}

#[test]
fn a_name_with_a_slash_is_taken_where_answers_have_it() {
    let list = r#"{
        "fireworks_ai/accounts/fireworks/models/r1": {"litellm_provider": "fireworks_ai", "input_cost_per_token": 1e-6},
        "deepinfra/meta-llama/Llama-3": {"litellm_provider": "deepinfra", "input_cost_per_token": 1e-6},
        "azure/eu/gpt-4o": {"litellm_provider": "azure", "input_cost_per_token": 1e-6},
        "vertex_ai/meta/llama": {"litellm_provider": "vertex_ai-llama_models", "input_cost_per_token": 1e-6}}"#;
    let imported = read(list).expect("a list");
    let taken = [("deepinfra", "meta-llama/Llama-3"), ("fireworks_ai", "accounts/fireworks/models/r1")];
    assert_eq!(models(&imported), taken);
    let left: Vec<&str> = imported.notes.iter().map(|note| note.model.as_str()).collect();
    assert_eq!(left, ["azure/eu/gpt-4o", "vertex_ai/meta/llama"]);
}

#[test]
fn anthropics_models_at_clouds_have_the_names_by_which_these_bill_them() {
    let lite = r#"{
        "vertex_ai/claude-sonnet-4@20250514": {"litellm_provider": "vertex_ai-anthropic_models", "input_cost_per_token": 3e-6,
            "cache_read_input_token_cost": 3e-7},
        "vertex_ai/claude-opus-4-7": {"litellm_provider": "vertex_ai-anthropic_models", "input_cost_per_token": 5e-6},
        "anthropic.claude-sonnet-4-20250514-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 3e-6},
        "bedrock/eu.anthropic.claude-sonnet-4-20250514-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 3.3e-6},
        "us.anthropic.claude-3-5-haiku-20241022-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 8e-7},
        "bedrock/us-gov-west-1/anthropic.claude-sonnet-4-20250514-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 3.6e-6}}"#;
    let imported = read(lite).expect("a list");
    let at_bedrock = [
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "eu.anthropic.claude-sonnet-4-20250514-v1:0",
        "us.anthropic.claude-3-5-haiku-20241022-v1:0",
    ];
    let at_google = ["claude-opus-4-7", "claude-sonnet-4@20250514"];
    let expected: Vec<(&str, &str)> = at_bedrock
        .map(|model| ("bedrock", model))
        .into_iter()
        .chain(at_google.map(|model| ("google", model)))
        .collect();
    assert_eq!(models(&imported), expected);
    let left: Vec<&str> = imported.notes.iter().map(|note| note.model.as_str()).collect();
    assert_eq!(left, ["bedrock/us-gov-west-1/anthropic.claude-sonnet-4-20250514-v1:0"]);
    let dev = r#"{"google-vertex-anthropic": {"models": {"claude-sonnet-4@20250514": {"cost": {"input": 3, "output": 15}}}}}"#;
    assert_eq!(models(&read(dev).expect("a list")), [("google", "claude-sonnet-4@20250514")]);
}

#[test]
fn prices_that_cannot_be_used_are_named() {
    let dev =
        read(r#"{"a": {"models": {"m": {"cost": {"input": -1, "output": 2, "cache_read": 1e-9}}}}}"#).expect("a list");
    let reasons: Vec<&str> = dev.notes.iter().map(|note| note.reason.as_str()).collect();
    assert_eq!((models(&dev), reasons.len()), (vec![("a", "m")], 2), "{reasons:?}");
    assert!(reasons[0].contains("negative") && reasons[1].contains("rounded to nothing"), "{reasons:?}");
    let router = read(
        r#"{"data": [{"id": "b/m", "pricing": {"prompt": "0.000001", "completion": "1e-15", "image": "0.002"}}]}"#,
    );
    let reasons: Vec<String> = router.expect("a list").notes.into_iter().map(|note| note.reason).collect();
    assert!(reasons[0].contains("completion") && reasons[1].contains("images sent"), "{reasons:?}");
}

#[test]
fn a_model_without_a_name_is_left_out_and_told() {
    let lists = [
        r#"{"": {"litellm_provider": "a", "input_cost_per_token": 1e-6}, "m": {"litellm_provider": "a", "input_cost_per_token": 1e-6}}"#,
        r#"{"a": {"id": "a", "models": {"": {"cost": {"input": 1}}, "m": {"cost": {"input": 1}}}}}"#,
        r#"{"data": [{"id": "", "pricing": {"prompt": "0.000001"}}, {"id": "m", "pricing": {"prompt": "0.000001"}}]}"#,
    ];
    for list in lists {
        let imported = read(list).expect(list);
        assert_eq!(models(&imported).into_iter().map(|(_, model)| model).collect::<Vec<_>>(), ["m"], "{list}");
        let reasons: Vec<&str> = imported.notes.iter().map(|note| note.reason.as_str()).collect();
        assert_eq!(reasons, ["a model without a name; it is left out"], "{list}");
    }
}
