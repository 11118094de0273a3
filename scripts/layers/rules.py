"""The rules about layers, each as a function that yields what is wrong."""
import json
import re
import subprocess
from pathlib import Path

from layers.modules import circles, read_crate, shipped, sibling_arrows

# Each crate and the crates right below it. A crate may depend on everything that can be reached along these arrows.
LAYERS = {
    "weir-contract": [],
    "weir-config": ["weir-contract"],
    "weir-keys": ["weir-config"],
    "weir-key-delivery": [],
    "weir-llm-usage": ["weir-contract"],
    "weir-llm-translate": ["weir-llm-usage"],
    "weir-redaction": ["weir-llm-usage"],
    "weir-sealed-ids": ["weir-config", "weir-llm-usage"],
    "weir-vector-guard": ["weir-llm-usage", "weir-sealed-ids"],
    "weir-filter": ["weir-keys", "weir-key-delivery", "weir-llm-usage", "weir-llm-translate", "weir-redaction", "weir-sealed-ids", "weir-vector-guard"],
    "weir-memory": [],
    "weir-plugin": ["weir-filter", "weir-memory"],
    "weir-fault": [],
    "weir-clock": ["weir-contract"],
    "weir-settings": ["weir-contract"],
    "weir-event-log": ["weir-contract", "weir-clock", "weir-fault", "weir-settings"],
    "weir-database": ["weir-fault"],
    "weir-ledger": ["weir-event-log", "weir-database"],
    "weir-billing": ["weir-ledger"],
    "weir-money": ["weir-ledger", "weir-settings"],
    "weir-leases": ["weir-contract", "weir-fault"],
    "weir-leases-redis": ["weir-leases", "weir-settings"],
    "weir-steer": ["weir-ledger", "weir-settings"],
    "weir-stripe": ["weir-billing", "weir-settings"],
    "weir-provisioning": ["weir-contract"],
    "weir-dashboard": ["weir-contract"],
    "weir-tenants": ["weir-billing", "weir-settings", "weir-key-delivery"],
    # `weir check` and `weir schema` read a filter's configuration as the filter does.
    "weir": ["weir-stripe", "weir-tenants", "weir-money", "weir-steer", "weir-leases-redis", "weir-filter", "weir-provisioning",
             "weir-dashboard"],
}
# Tests, tools and examples stand above everything.
TOOLS = {"weir-sim", "weir-disk", "weir-host-tests", "weir-rig", "weir-seeded", "weir-soak", "weir-usage-oracle", "weir-bench", "weir-probe",
         "weir-empty", "weir-repeat", "weir-demo"}

PURE = ["weir-contract", "weir-provisioning", "weir-dashboard", "weir-config", "weir-key-delivery", "weir-keys", "weir-llm-translate", "weir-leases", "weir-llm-usage", "weir-redaction", "weir-sealed-ids",
        "weir-vector-guard", "weir-filter"]
NO_UNSAFE = ["weir-config", "weir-key-delivery", "weir-keys", "weir-llm-translate", "weir-llm-usage", "weir-redaction", "weir-sealed-ids",
        "weir-vector-guard", "weir-filter"]
NO_PANIC = NO_UNSAFE + ["weir-memory", "weir-plugin"]
PANIC_LINTS = ["unwrap_used", "expect_used", "panic", "indexing_slicing"]
# Addresses as values (IpAddr, SocketAddr) are fine; what opens or resolves them is not.
IMPURE = re.compile(r"SystemTime::now|Instant::now|std::(fs|env|process|thread)|Tcp(Stream|Listener)|UdpSocket|"
                    r"ToSocketAddrs|println!|eprintln!|unsafe *\{|proxy_wasm")
NO_IO_CRATES = ["proxy-wasm", "tokio", "mio", "socket2", "hyper", "reqwest", "rusqlite"]
SDK_USERS = {"weir-plugin", "weir-probe", "weir-empty"}
HOST_CALL = re.compile(r'hostcalls::|extern "C"')


class Workspace:
    """The packages of a workspace: name, folder, dependencies of what ships, files of libraries and programs."""

    def __init__(self, root, packages):
        self.root, self.packages = root, packages

    @staticmethod
    def of(root):
        command = ["cargo", "metadata", "--quiet", "--offline", "--no-deps", "--format-version", "1"]
        found = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)
        packages = {}
        for package in found["packages"]:
            shipped_kinds = [d["name"] for d in package["dependencies"] if d["kind"] != "dev"]
            targets = [Path(t["src_path"]) for t in package["targets"] if set(t["kind"]) & {"lib", "cdylib", "bin"}]
            folder = Path(package["manifest_path"]).parent
            packages[package["name"]] = {"folder": folder, "uses": shipped_kinds, "targets": targets}
        return Workspace(root, packages)

    def show(self, file):
        return str(Path(file).relative_to(self.root))

    def source(self, name):
        """The file of a package's library; None where there is no such package yet."""
        package = self.packages.get(name)
        return package and package["folder"] / "src/lib.rs"


def below(crate):
    """Every crate below one."""
    direct = LAYERS.get(crate, [])
    return set(direct).union(*[below(other) for other in direct])


def check_crates(workspace):
    known = set(LAYERS) | TOOLS
    for name, package in sorted(workspace.packages.items()):
        if name not in known:
            yield f"{name} stands in no layer: add it to LAYERS, or to TOOLS if it never ships"
        elif name in LAYERS:
            for used in sorted(set(package["uses"]) & (known | set(workspace.packages)) - below(name)):
                yield f"{name} depends on {used}, which is not below it"


def check_modules(workspace, name, root):
    for parent, arrows in sibling_arrows(root).items():
        for group in circles(arrows):
            members = ", ".join(sorted(module.name for module in group))
            lines = [f"{name}: a circle of modules in {workspace.show(parent.file)}: {members}"]
            for (source, target), ties in sorted(arrows.items(), key=lambda arrow: arrow[0][0].name):
                if source in group and target in group:
                    lines += [f"    {workspace.show(a)} -> {workspace.show(b)}: {', '.join(sorted(names))}"
                              for (a, b), names in sorted(ties.items())]
            yield "\n".join(lines)


def check_pure(workspace):
    for name in PURE:
        package = workspace.packages.get(name)
        roots = [read_crate(file) for file in package["targets"]] if package else []
        for file in sorted({module.file for root in roots for module in root.walk()}):
            for number, line in enumerate(shipped(file.read_text()).split("\n"), 1):
                if IMPURE.search(line):
                    yield f"{workspace.show(file)}:{number} reaches outside; take a value as an argument: {line.strip()}"
    for crates, attribute, rule in (
        [(NO_UNSAFE, "#![forbid(unsafe_code)]", "must forbid unsafe code")]
        + [(NO_PANIC, f"clippy::{lint}", f"must deny clippy::{lint}") for lint in PANIC_LINTS]):
        for file in filter(None, map(workspace.source, crates)):
            if attribute not in file.read_text():
                yield f"{workspace.show(file)} {rule}"


def check_tree(root):
    """What the filter depends on, through whatever crate."""
    command = ["cargo", "tree", "--quiet", "--offline", "--package", "weir-filter", "--edges", "normal", "--prefix",
               "none", "--format", "{p}"]
    tree = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    found = {line.split()[0] for line in tree.splitlines() if line.strip()}
    for crate in NO_IO_CRATES:
        if crate in found:
            yield f"weir-filter depends on {crate}; the filter knows no gateway and does no I/O"


def check_sdk(workspace):
    for name, package in sorted(workspace.packages.items()):
        if "proxy-wasm" in package["uses"] and name not in SDK_USERS:
            yield f"{name} depends on proxy-wasm; only the plugin does, and two guests of the test host"
    plugin = workspace.packages.get("weir-plugin")
    for file in sorted((plugin["folder"] / "src").rglob("*.rs")) if plugin else []:
        if HOST_CALL.search(file.read_text()) and file.name != "host.rs":
            yield f"{workspace.show(file)} makes host calls; they belong in plugin/src/host.rs"


def problems_of(workspace):
    """Everything in the workspace that breaks a rule."""
    problems = [*check_crates(workspace), *check_pure(workspace), *check_sdk(workspace)]
    for name, package in sorted(workspace.packages.items()):
        for root in map(read_crate, package["targets"]):
            problems += check_modules(workspace, name, root)
    return problems


def print_graph(workspace):
    for name, package in sorted(workspace.packages.items()):
        uses = sorted(set(package["uses"]) & set(workspace.packages))
        print(f"{name} -> {', '.join(uses) or 'nothing'}")
        for root in map(read_crate, package["targets"]):
            for parent, arrows in sibling_arrows(root).items():
                print(f"    {workspace.show(parent.file)}")
                for source in sorted({source.name for source, _ in arrows}):
                    targets = sorted({target.name for own, target in arrows if own.name == source})
                    print(f"        {source} -> {', '.join(targets)}")
