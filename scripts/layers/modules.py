"""Reads the modules of a Rust crate, and which of them use which, from the code that ships.

Not a Rust parser: it knows comments, literals, `#[cfg(test)]`, `mod`, `use` and paths that begin with crate, self or super.
"""
import re

COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.|[^\\\'])\'', re.DOTALL)
TEST_ATTRIBUTE = re.compile(r"#\[cfg\(test\)\]")
ATTRIBUTE = re.compile(r"\s*#\[[^\]]*\]")
PATH_ATTRIBUTE = re.compile(r'path\s*=\s*"([^"]+)"')
MODULE = re.compile(r"((?:#\[[^\]]*\]\s*)*)(?:pub(?:\([^)]*\))?\s+)?\bmod\s+(\w+)\s*([;{])")
USE = re.compile(r"\buse\s+([^;]+);")
INLINE_PATH = re.compile(r"\b(?:crate|super|self)(?:\s*::\s*\w+)+")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def without_comments(text):
    """Blanks comments and literals; lines stay where they are."""
    return COMMENT_OR_STRING.sub(blank, text)


def end_of_block(code, start):
    """The position behind the brace that closes the one at `start`."""
    depth = 0
    for at in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return at + 1
    return len(code)


def end_of_item(code, start):
    """The position behind the item at `start`: its semicolon, or its closing brace."""
    while attribute := ATTRIBUTE.match(code, start):
        start = attribute.end()
    if re.match(r"\s*(?:pub(?:\([^)]*\))?\s+)?use\b", code[start:start + 80]):
        return code.find(";", start) + 1
    found = re.compile(r"[;{]").search(code, start)
    if not found:
        return len(code)
    return found.end() if found.group() == ";" else end_of_block(code, found.start())


def test_ranges(code):
    """Where items under `#[cfg(test)]` stand."""
    return [(match.start(), end_of_item(code, match.end())) for match in TEST_ATTRIBUTE.finditer(code)]


def shipped(text):
    """The code that ships: without comments, literals and items under `#[cfg(test)]`."""
    code = without_comments(text)
    for start, end in test_ranges(code):
        code = code[:start] + re.sub(r"[^\n]", " ", code[start:end]) + code[end:]
    return code


def expand(tree):
    """The paths of a `use` tree: `a::{b, c::D}` is a::b and a::c::D. `as` names are kept as a pair."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        segments = [part.strip() for part in path.split("::") if part.strip()]
        return [(segments, alias.strip() or (segments[-1] if segments else ""))]
    prefix = [part.strip() for part in tree[:brace].split("::") if part.strip()]
    inner, depth, start, parts = tree[brace + 1:tree.rfind("}")], 0, 0, []
    for at, char in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append((inner + ",")[start:at])
            start = at + 1
    paths = []
    for part in filter(str.strip, parts):
        for segments, alias in expand(part):
            own = segments[:-1] if segments and segments[-1] == "self" else segments
            paths.append((prefix + own, prefix[-1] if alias == "self" and prefix else alias))
    return paths


class Module:
    """A module of a crate: a file, or a block within one."""

    def __init__(self, name, file, parent):
        self.name, self.file, self.parent = name, file, parent
        self.children, self.imports, self.paths = {}, {}, []

    def chain(self):
        return ([] if self.parent is None else self.parent.chain()) + [self]

    def read(self, code, text, folder):
        """Reads its code; `text` is the same with its literals, for `#[path]`."""
        rest = code
        for match in MODULE.finditer(code):
            name, child = match.group(2), None
            if match.group(3) == ";":
                child = self.read_file(name, text[match.start():match.end()], folder)
            else:
                end = end_of_block(code, match.end() - 1)
                child = Module(name, self.file, self)
                child.read(code[match.end():end - 1], text[match.end():end - 1], folder / name)
                rest = rest[:match.start()] + " " * (end - match.start()) + rest[end:]
            if child:
                self.children[name] = child
        for match in USE.finditer(rest):
            for path, name in expand(match.group(1)):
                self.imports[name] = path
        rest = USE.sub(blank, rest)
        self.paths = list(self.imports.values())
        self.paths += [re.split(r"\s*::\s*", match.group()) for match in INLINE_PATH.finditer(rest)]

    def read_file(self, name, declaration, folder):
        named = PATH_ATTRIBUTE.search(declaration)
        candidates = [folder / f"{name}.rs", folder / name / "mod.rs"]
        if named:
            candidates = [self.file.parent / named.group(1)]
        file = next((file for file in candidates if file.exists()), None)
        if file is None:
            return None
        child = Module(name, file, self)
        text = file.read_text()
        child.read(shipped(text), text, folder / name)
        return child

    def resolve(self, path, budget=8):
        """The module that a path leads to, and the name it takes there; None outside this crate."""
        module, rest = self, list(path)
        if rest[0] == "crate":
            module, rest = self.chain()[0], rest[1:]
        elif rest[0] in ("self", "super"):
            while rest and rest[0] in ("self", "super"):
                module = module.parent if rest[0] == "super" else module
                if module is None:
                    return None
                rest = rest[1:]
        elif rest[0] not in self.children:
            return None
        while rest and rest[0] in module.children:
            module, rest = module.children[rest[0]], rest[1:]
        # A name that the module takes from elsewhere itself is followed to where it stands.
        if rest and rest[0] in module.imports and budget:
            through = module.resolve(module.imports[rest[0]] + rest[1:], budget - 1)
            return through or (module, rest[0])
        return module, rest[0] if rest else "*"

    def walk(self):
        yield self
        for child in self.children.values():
            yield from child.walk()


def read_crate(root_file):
    root = Module("crate", root_file, None)
    text = root_file.read_text()
    root.read(shipped(text), text, root_file.parent)
    return root


def sibling_arrows(root):
    """Arrows between siblings: {parent: {(from, to): {(file, file): names}}}."""
    arrows = {}
    for module in root.walk():
        for path in module.paths:
            found = module.resolve(path)
            if not found or found[0] is module:
                continue
            own, other = module.chain(), found[0].chain()
            depth = next((at for at, (a, b) in enumerate(zip(own, other)) if a is not b), None)
            if depth is None:
                continue
            ties = arrows.setdefault(own[depth - 1], {}).setdefault((own[depth], other[depth]), {})
            ties.setdefault((module.file, found[0].file), set()).add(found[1])
    return arrows


def circles(arrows):
    """Groups of nodes that reach each other."""
    reach = {}
    for start, _ in arrows:
        seen, todo = set(), [start]
        while todo:
            here = todo.pop()
            for source, target in arrows:
                if source is here and target not in seen:
                    seen.add(target)
                    todo.append(target)
        reach[start] = seen
    groups = []
    for node in reach:
        group = {other for other in reach if other in reach[node] and node in reach[other]}
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups
