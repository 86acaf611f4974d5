//! The arena's own sources: dependencies run downwards from wing to wing, and no two files need each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The floors of the house, from the roof to the ground. What stands on one may use what stands below it.
const FLOORS: [&[&str]; 6] = [
    &["main", "cli"],
    &["commands"],
    &["load", "stack"],
    &["read", "observe"],
    &["record"],
    &["exit", "terminal", "workspace"],
];

#[test]
fn dependencies_run_downwards() {
    let upwards: Vec<String> = dependencies()
        .into_iter()
        .filter(|(user, used)| wing(user) != wing(used) && floor(user) >= floor(used))
        .map(|(user, used)| format!("{user} uses {used}"))
        .collect();
    assert!(upwards.is_empty(), "not downwards:\n{}", upwards.join("\n"));
}

#[test]
fn no_files_form_a_circle() {
    let mut left = dependencies();
    // Who uses nobody that is left, or is used by nobody, is in no circle.
    loop {
        let users: BTreeSet<String> = left.iter().map(|(user, _)| user.clone()).collect();
        let used: BTreeSet<String> = left.iter().map(|(_, used)| used.clone()).collect();
        let before = left.len();
        left.retain(|(user, other)| used.contains(user) && users.contains(other));
        if left.len() == before {
            break;
        }
    }
    let circles: Vec<String> = left.iter().map(|(user, used)| format!("{user} uses {used}")).collect();
    assert!(circles.is_empty(), "in circles:\n{}", circles.join("\n"));
}

#[test]
fn every_module_that_has_children_is_a_folder() {
    let files = files();
    let beside: Vec<&String> =
        files.keys().filter(|file| files.contains_key(&format!("{}/mod.rs", file.trim_end_matches(".rs")))).collect();
    assert!(beside.is_empty(), "{beside:?}");
    let folders: BTreeSet<&str> = files.keys().filter_map(|file| Some(file.rsplit_once('/')?.0)).collect();
    let without: Vec<&&str> =
        folders.iter().filter(|folder| !files.contains_key(&format!("{folder}/mod.rs"))).collect();
    assert!(without.is_empty(), "folders without a mod.rs: {without:?}");
}

fn wing(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

fn floor(file: &str) -> usize {
    let floor = FLOORS.iter().position(|wings| wings.contains(&wing(file)));
    floor.unwrap_or_else(|| panic!("{file} stands in no wing"))
}

/// Which file uses which other, by their names below `src`.
fn dependencies() -> BTreeSet<(String, String)> {
    let sources: Vec<Source> = files().iter().map(|(file, text)| Source::read(file, text)).collect();
    let by_module: BTreeMap<&[String], &Source> =
        sources.iter().map(|source| (source.module.as_slice(), source)).collect();
    let mut dependencies = BTreeSet::new();
    for source in &sources {
        let used = source.paths.iter().filter_map(|path| defined_in(&by_module, path));
        let others = used.filter(|used| used.file != source.file && used.file != "lib.rs");
        dependencies.extend(others.map(|used| (source.file.clone(), used.file.clone())));
    }
    dependencies
}

/// The source that defines what a path names, also where a module above it hands that on.
fn defined_in<'a>(by_module: &BTreeMap<&[String], &'a Source>, path: &[String]) -> Option<&'a Source> {
    let (source, rest) = (0..=path.len()).rev().find_map(|end| Some((*by_module.get(&path[..end])?, &path[end..])))?;
    let handed_on = rest.first().and_then(|name| source.exports.get(name));
    handed_on.map_or(Some(source), |path| defined_in(by_module, path))
}

/// The sources below `src`, by name.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// What one file says of others; all paths begin at the crate.
struct Source {
    file: String,
    module: Vec<String>,
    children: BTreeSet<String>,
    paths: Vec<Vec<String>>,
    /// Names that the module hands on, and what they stand for.
    exports: BTreeMap<String, Vec<String>>,
}

impl Source {
    fn read(file: &str, text: &str) -> Self {
        let module = file.trim_end_matches(".rs").split('/').map(str::to_owned);
        let module = module.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect();
        let mut source = Self {
            file: file.to_owned(),
            module,
            children: BTreeSet::new(),
            paths: Vec::new(),
            exports: BTreeMap::new(),
        };
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        source.children = tokens.windows(3).filter_map(child).collect();
        let module = source.module.clone();
        source.scan(&tokens, &module);
        source
    }

    /// Collects the paths among tokens that stand in `module`: the file's own, or one within it.
    fn scan(&mut self, tokens: &[TokenTree], module: &[String]) {
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    match &tokens[..at] {
                        [.., TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mod" => {
                            self.scan(&inner, &[module, &[name.to_string()]].concat());
                        }
                        _ => self.scan(&inner, module),
                    }
                }
                TokenTree::Ident(word) if !follows_a_path(&tokens[..at]) => {
                    let Some(root) = self.root(&word.to_string(), module) else { continue };
                    let mut paths = Vec::new();
                    collect(&tokens[at + 1..], &root, &mut paths);
                    if exported(&tokens[..at]) {
                        let named = paths.iter().filter_map(|path| Some((path.last()?.clone(), path.clone())));
                        self.exports.extend(named);
                    }
                    self.paths.extend(paths);
                }
                _ => {}
            }
        }
    }

    /// What a path begins with, if it leads to another module.
    fn root(&self, word: &str, module: &[String]) -> Option<Vec<String>> {
        match word {
            "crate" | "arena" => Some(Vec::new()),
            "super" => Some(module[..module.len() - 1].to_vec()),
            child if module == self.module && self.children.contains(child) => {
                Some([module, &[child.to_owned()]].concat())
            }
            _ => None,
        }
    }
}

/// The name in `mod name;`.
fn child(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(end)]
            if word == "mod" && end.as_char() == ';' =>
        {
            Some(name.to_string())
        }
        _ => None,
    }
}

fn follows_a_path(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Punct(colon)] if colon.as_char() == ':')
}

/// Whether a path behind these tokens is handed on to others.
fn exported(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Ident(visible), TokenTree::Ident(word)] if visible == "pub" && word == "use")
}

/// Collects the paths that go on behind `root`: `::name` and so on, or `::{...}` with several.
fn collect(tokens: &[TokenTree], root: &[String], paths: &mut Vec<Vec<String>>) {
    let [TokenTree::Punct(first), TokenTree::Punct(second), next, rest @ ..] = tokens else { return };
    if first.as_char() != ':' || second.as_char() != ':' {
        return;
    }
    match next {
        TokenTree::Ident(name) if name == "super" => collect(rest, &root[..root.len() - 1], paths),
        TokenTree::Ident(name) => {
            let path = [root, &[name.to_string()]].concat();
            let before = paths.len();
            collect(rest, &path, paths);
            if paths.len() == before {
                paths.push(path);
            }
        }
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let branches = inner.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','));
            for branch in branches {
                match branch {
                    [TokenTree::Ident(name), ..] if name == "self" => paths.push(root.to_vec()),
                    [TokenTree::Ident(name), rest @ ..] => {
                        let path = [root, &[name.to_string()]].concat();
                        let before = paths.len();
                        collect(rest, &path, paths);
                        if paths.len() == before {
                            paths.push(path);
                        }
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
