"""Plants a violation of every rule in a small workspace, and sees that it is found."""
import tempfile
from pathlib import Path

from layers.rules import PANIC_LINTS, Workspace, problems_of

LINTS = "".join(f"#![deny(clippy::{lint})]\n" for lint in PANIC_LINTS)
CLEAN = {
    "weir-filter": ("filter", ["weir-contract"], {
        "lib.rs": f"#![forbid(unsafe_code)]\n{LINTS}pub mod limit;\npub mod refusal;\npub use refusal::Refusal as Refused;\n",
        "limit.rs": "mod bucket;\npub struct Unit;\npub use bucket::Bucket;\n"
                    "#[cfg(test)]\nmod tests {\n    use crate::refusal::Refusal;\n    fn now() { SystemTime::now(); }\n}\n",
        "limit/bucket.rs": "use super::Unit;\n// use crate::refusal::Refusal; std::fs\npub struct Bucket(Unit);\n",
        "refusal.rs": "use crate::limit::{Bucket, Unit};\npub struct Refusal;\n",
    }),
    "weir-contract": ("contract", [], {"lib.rs": ""}),
    "weir-plugin": ("plugin", ["weir-filter", "proxy-wasm"], {"lib.rs": f"{LINTS}mod host;\n", "host.rs": "hostcalls::log();"}),
}
PLANTED = [
    ("a dependency that runs upwards", ("weir-contract", "uses", "weir-filter"), "weir-contract depends on weir-filter"),
    ("a crate in no layer", ("weir-new", "file", "lib.rs", ""), "weir-new stands in no layer"),
    ("a circle of modules", ("weir-filter", "file", "limit/bucket.rs", "use crate::refusal::Refusal;"),
     "a circle of modules in filter/src/lib.rs: limit, refusal"),
    ("a circle by a path within the code", ("weir-filter", "file", "limit/bucket.rs", "fn f() -> crate::refusal::Refusal {}"),
     "filter/src/limit/bucket.rs -> filter/src/refusal.rs: Refusal"),
    ("a circle through a name that is handed on", ("weir-filter", "file", "limit.rs",
     "mod bucket;\npub struct Unit;\npub use bucket::Bucket;\nuse crate::Refused;"),
     "filter/src/limit.rs -> filter/src/refusal.rs: Refusal"),
    ("a clock in the filter", ("weir-filter", "file", "limit/bucket.rs", "fn f() { SystemTime::now(); }"),
     "filter/src/limit/bucket.rs:1 reaches outside"),
    ("a filter that permits unsafe code", ("weir-filter", "file", "lib.rs", LINTS), "must forbid unsafe code"),
    ("a filter that may panic", ("weir-filter", "file", "lib.rs", "#![forbid(unsafe_code)]"), "must deny clippy::panic"),
    ("the SDK beside the plugin", ("weir-filter", "uses", "proxy-wasm"), "weir-filter depends on proxy-wasm"),
    ("a host call beside host.rs", ("weir-plugin", "file", "http.rs", "hostcalls::log();"), "makes host calls"),
]


def build(folder, plant=None):
    """The clean workspace in a folder, with one violation."""
    workspace = Workspace(folder, {})
    for name, (place, uses, files) in CLEAN.items():
        source = folder / place / "src"
        for file, text in files.items():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_text(text)
        workspace.packages[name] = {"folder": folder / place, "uses": list(uses), "targets": [source / "lib.rs"]}
    if plant and plant[1] == "uses":
        workspace.packages[plant[0]]["uses"].append(plant[2])
    elif plant:
        name, _, file, text = plant
        package = workspace.packages.setdefault(name, {"folder": folder / name, "uses": [], "targets": []})
        (package["folder"] / "src").mkdir(parents=True, exist_ok=True)
        (package["folder"] / "src" / file).write_text(text)
    return workspace


def self_test():
    failures = []
    for what, plant, expected in [("nothing", None, None), *PLANTED]:
        with tempfile.TemporaryDirectory() as folder:
            problems = problems_of(build(Path(folder), plant))
        found = "\n".join(problems)
        if (expected is None and problems) or (expected is not None and expected not in found):
            failures.append(f"planted {what}: expected {expected!r}, found {found!r}")
    return failures
