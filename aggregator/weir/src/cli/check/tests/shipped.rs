//! Every file that the project ships for people to start from.
use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every YAML file in the folders that people copy from.
fn shipped() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["envoy", "kong", "examples"].map(|folder| root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let is_yaml = entry.extension().is_some_and(|end| end == "yaml" || end == "yml");
            if entry.is_dir() {
                folders.push(entry);
            } else if is_yaml {
                found.push(entry);
            }
        }
    }
    found.push(root().join("aggregator/weir/weir.example.yaml"));
    found
}

fn is_of_others(path: &Path) -> bool {
    let name = path.file_name().expect("a name").to_string_lossy();
    // The last two are objects of Istio and Envoy Gateway that hand secrets to the proxy.
    ["compose.", "weir-alerts.", "secrets.", "envoyproxy."].iter().any(|begin| name.starts_with(begin))
}

#[test]
fn every_shipped_file_of_weir_is_good_without_a_warning() {
    let files: Vec<PathBuf> = shipped().into_iter().filter(|path| !is_of_others(path)).collect();
    assert!(files.len() >= 20, "{files:?}");
    for path in files {
        let judged = judge(&path, CheckedFor::Envoy);
        let told = judged.problems.iter().map(|problem| problem.text.as_str());
        // The demo puts a secret that it draws there.
        let is_template = path.ends_with("examples/demo/filter.yaml");
        let told: Vec<&str> = told.filter(|text| !(is_template && text.contains("a placeholder"))).collect();
        assert!(told.is_empty() && judged.kind.is_some(), "{}: {}", path.display(), told.join("\n"));
    }
}

#[test]
fn shipped_files_of_others_are_not_taken_for_weirs() {
    for path in shipped().into_iter().filter(|path| is_of_others(path)) {
        let judged = judge(&path, CheckedFor::Envoy);
        assert!(judged.kind.is_none() && judged.errors == 1, "{}: {judged:?}", path.display());
        let told = &judged.problems[0].text;
        assert!(told.contains("weir does not know what this is") || told.contains("nothing here is weir's"), "{told}");
    }
}

#[test]
fn what_a_shipped_file_is_is_said() {
    for (file, what) in [
        ("envoy/sidecar.yaml", "Envoy's configuration, with one weir filter"),
        ("envoy/istio/envoyfilter.yaml", "Kubernetes EnvoyFilter, with one weir filter"),
        ("envoy/istio/wasmplugin.yaml", "Kubernetes WasmPlugin, with one weir filter"),
        ("envoy/envoy-gateway/envoypatchpolicy.yaml", "Kubernetes EnvoyPatchPolicy, with one weir filter"),
        ("envoy/envoy-gateway/extensionpolicy.yaml", "Kubernetes EnvoyExtensionPolicy, with one weir filter"),
        ("kong/kong.yml", "Kong's configuration, with 3 weir filters"),
        ("kong/sidecar/kong-before-envoy.yml", "Kong's configuration, without weir"),
        ("examples/demo/tenants.yaml", "a tenants file"),
        ("examples/demo/filter.yaml", "the filter's configuration"),
        ("examples/demo/weir.yaml", "the server's configuration"),
    ] {
        assert_eq!(judge(&root().join(file), CheckedFor::Envoy).kind.as_deref(), Some(what), "{file}");
    }
    let kubernetes = judge(&root().join("examples/kubernetes/weir.yaml"), CheckedFor::Envoy).kind.expect("known");
    assert!(kubernetes.starts_with("the server's configuration in a ConfigMap, "), "{kubernetes}");
    assert!(kubernetes.ends_with(" Kubernetes objects that weir does not read"), "{kubernetes}");
}
