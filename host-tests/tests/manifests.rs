//! What is shipped for Kubernetes and Docker against the schemas of those, and the module as an OCI image. `make setup`
//! brings the schemas.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use weir_rig::workspace;

/// Runs a Python module of `.tools/schemas` over files of the project.
fn schema(module: &str, arguments: &[&str], files: &[&str]) -> Output {
    let root = workspace::root();
    Command::new("python3")
        .args(["-m", module])
        .args(arguments)
        .args(files.iter().map(|file| root.join(file)))
        .env("PYTHONPATH", root.join(".tools/schemas"))
        .output()
        .expect("python3")
}

fn passes(output: &Output) {
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
}

#[test]
fn the_kubernetes_resources_are_what_kubernetes_knows() {
    passes(&schema("kubernetes_validate", &["--strict"], &["examples/kubernetes/weir.yaml"]));
}

#[test]
fn the_compose_files_are_what_docker_compose_knows() {
    let files = ["examples/docker/compose.envoy.yaml", "examples/docker/compose.kong.yaml"];
    passes(&schema("check_jsonschema", &["--builtin-schema", "vendor.compose-spec"], &files));
}

/// The configurations of weir in `kong.yml` against `weir.meta.json`, as Kong holds them against it: JSON Schema draft-04.
#[test]
fn kongs_schema_takes_the_shipped_configurations_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, value: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).expect("a file");
        path.display().to_string()
    };
    let read = |file: &str| std::fs::read_to_string(workspace::root().join(file)).expect("the file");
    let meta: Value = serde_json::from_str(&read("kong/weir.meta.json")).expect("JSON");
    let config_schema = write("schema.json", &meta["config_schema"]);
    passes(&schema("check_jsonschema", &["--check-metaschema"], &[&config_schema]));
    let kong: Value = serde_saphyr::from_str(&read("kong/kong.yml")).expect("YAML");
    let check =
        |value: &Value| schema("check_jsonschema", &["--schemafile", &config_schema], &[&write("c.json", value)]);
    let places = [
        "/services/0/filter_chains/0/filters/0/config",
        "/services/1/routes/0/filter_chains/0/filters/0/config",
        "/services/1/routes/1/filter_chains/0/filters/0/config",
    ];
    for place in places {
        passes(&check(kong.pointer(place).expect("a configuration")));
    }
    for (place, wrong) in [("/plan", "no such field"), ("/version", "a text"), ("/identity/sources", "no list")] {
        let mut config = kong.pointer(places[0]).expect("a configuration").clone();
        let (parent, field) = place.rsplit_once('/').expect("a pointer");
        config.pointer_mut(parent).expect("a place")[field] = Value::from(wrong);
        assert!(!check(&config).status.success(), "{place}: {wrong}");
    }
}

#[test]
fn a_wrong_resource_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "apiVersion: v1\nkind: Service\nmetadata: {name: weir}\nspec: {prots: []}\n")
        .expect("a file");
    let output = schema("kubernetes_validate", &["--strict"], &[wrong.to_str().expect("a path")]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Every file that a compose file mounts or builds from, of those that are in the repository.
#[test]
fn what_the_compose_files_mount_is_there() {
    let folder = workspace::root().join("examples/docker");
    for file in ["compose.envoy.yaml", "compose.kong.yaml"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file");
        let config: Value = serde_saphyr::from_str(&text).expect("YAML");
        let services = config["services"].as_object().expect("services").values();
        let mounts = services.flat_map(|service| service["volumes"].as_array().cloned().unwrap_or_default());
        let sources = mounts.filter_map(|mount| Some(mount.as_str()?.split(':').next()?.to_owned()));
        let files: Vec<PathBuf> =
            sources.filter(|source| source.starts_with('.')).map(|source| folder.join(source)).collect();
        assert!(files.len() >= 4, "{file}: {files:?}");
        files.iter().for_each(|path| assert!(path.exists(), "{file} mounts {}: not there", path.display()));
    }
}

fn compose(file: &str) -> Value {
    let text = std::fs::read_to_string(workspace::root().join("examples/docker").join(file)).expect("the file");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// Only the aggregator leaves the inner network, for Stripe, and nothing else publishes a port.
#[test]
fn the_compose_files_let_weir_reach_stripe_and_nobody_reach_weir() {
    for (file, gateway) in [("compose.envoy.yaml", "envoy"), ("compose.kong.yaml", "kong")] {
        let config = compose(file);
        assert_eq!(config["networks"]["inside"]["internal"], true, "{file}");
        assert!(config["networks"]["outside"]["internal"].is_null(), "{file}: no way to Stripe");
        let services = config["services"].as_object().expect("services");
        for (name, service) in services {
            let outside = service["networks"].as_array().expect("networks").iter().any(|network| network == "outside");
            assert_eq!((outside, service["ports"].is_null()), (name == "weir", name != gateway), "{file}: {name}");
        }
        for name in ["WEIR_GATEWAY_TOKEN", "WEIR_SIGNING_KEY"] {
            let both = [gateway, "weir"].map(|service| &config["services"][service]["environment"][name]);
            assert!(both[0].is_string() && both[0] == both[1], "{file}: both sides have {name}");
        }
    }
}

/// Compose's Envoy changes the addresses of the shipped file by itself.
#[test]
fn composes_envoy_finds_the_service_and_the_aggregator() {
    let config = compose("compose.envoy.yaml");
    let script = config["services"]["envoy"]["command"][2].as_str().expect("a script");
    let (sed, envoy) = script.split_once(" && ").expect("two commands");
    assert_eq!(envoy, "exec envoy -c /tmp/envoy.yaml");
    let shipped = workspace::root().join("envoy/sidecar.yaml");
    let sed = sed.replace("/etc/envoy/sidecar.yaml >/tmp/envoy.yaml", &shipped.display().to_string());
    let output = Command::new("sh").args(["-c", &sed]).output().expect("sh");
    let changed: Value = serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout)).expect("YAML");
    let clusters = changed["static_resources"]["clusters"].as_array().expect("clusters");
    let addresses: Vec<&str> = clusters
        .iter()
        .map(|cluster| &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"])
        .filter_map(|address| address["socket_address"]["address"].as_str())
        .collect();
    assert_eq!(addresses, ["service", "weir"]);
}

fn unpack(archive: &Path, folder: &Path) {
    let tar = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder).output().expect("tar");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
}

#[test]
fn the_image_holds_the_module_and_its_digests_are_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("image.tar");
    let module = workspace::weir_wasm().expect("the built module");
    let made = Command::new(workspace::root().join("scripts/image"))
        .args([Path::new("--module"), &module, Path::new("--out"), &archive])
        .output()
        .expect("python3");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    unpack(&archive, folder.path());
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        let path = folder.path().join("blobs/sha256").join(digest);
        let content = std::fs::read(&path).expect("the blob");
        assert_eq!(weir_contract::directory::KeyHash::of(&content).to_string(), digest);
        assert_eq!(descriptor["size"], content.len());
        (path, content)
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let index = json(&std::fs::read(folder.path().join("index.json")).expect("the index"));
    let manifest = json(&blob(&index["manifests"][0]).1);
    blob(&manifest["config"]);
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 1, "Istio takes one layer");
    unpack(&blob(&layers[0]).0, folder.path());
    assert_eq!(std::fs::read(folder.path().join("plugin.wasm")).ok(), std::fs::read(module).ok());
}
