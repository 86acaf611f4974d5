//! The arena's own sources: dependencies run downwards from wing to wing, and no two files need each other.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The floors of the house, from the roof to the ground. What stands on one may use what stands below it.
const FLOORS: [&[&str]; 8] = [
    &["main"],
    &["cli"],
    &["commands"],
    &["model"],
    &["load", "stack"],
    &["read", "observe"],
    &["record"],
    &["exit", "terminal", "workspace"],
];

#[test]
fn dependencies_run_downwards() {
    let upwards: Vec<String> = dependencies("src")
        .into_iter()
        .filter(|(user, used)| wing(user) != wing(used) && floor(user) >= floor(used))
        .map(|(user, used)| format!("{user} uses {used}"))
        .collect();
    assert!(upwards.is_empty(), "not downwards:\n{}", upwards.join("\n"));
}

/// A part may use what the `mod.rs` of its own folder holds for all parts: that is no circle.
#[test]
fn no_files_form_a_circle() {
    for sources in ["src", "../lab/src"] {
        let mut dependencies = dependencies(sources);
        dependencies.retain(|(user, used)| !used.strip_suffix("mod.rs").is_some_and(|folder| user.starts_with(folder)));
        let in_circles = dependencies.iter().filter(|(user, used)| leads_to(&dependencies, used, user));
        let circles: Vec<String> = in_circles.map(|(user, used)| format!("{user} uses {used}")).collect();
        assert!(circles.is_empty(), "in circles below {sources}:\n{}", circles.join("\n"));
    }
}

#[test]
fn every_module_with_parts_is_a_folder_with_a_mod_rs() {
    for sources in ["src", "../lab/src", "../../src"] {
        let files = files(sources);
        let folders: BTreeSet<&str> = files.keys().filter_map(|file| Some(file.rsplit_once('/')?.0)).collect();
        let has = |file: String| files.contains_key(&file);
        let other: Vec<&&str> =
            folders.iter().filter(|folder| has(format!("{folder}.rs")) || !has(format!("{folder}/mod.rs"))).collect();
        assert!(other.is_empty(), "in another style below {sources}: {other:?}");
    }
}

fn wing(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

fn floor(file: &str) -> usize {
    let floor = FLOORS.iter().position(|wings| wings.contains(&wing(file)));
    floor.unwrap_or_else(|| panic!("{file} stands in no wing"))
}

fn leads_to(dependencies: &BTreeSet<(String, String)>, start: &str, end: &str) -> bool {
    let mut reached = BTreeSet::from([start]);
    let mut left = vec![start];
    while let Some(file) = left.pop() {
        let used = dependencies.iter().filter(|(user, _)| user == file).map(|(_, used)| used.as_str());
        left.extend(used.filter(|used| reached.insert(used)));
    }
    reached.contains(end)
}

/// Which file below a folder uses which other.
fn dependencies(sources: &str) -> BTreeSet<(String, String)> {
    let sources: Vec<Source> = files(sources).iter().map(|(file, text)| Source::read(file, text)).collect();
    let library = sources.iter().filter(|source| source.file != "main.rs");
    let by_module: BTreeMap<&[String], &Source> = library.map(|source| (source.module.as_slice(), source)).collect();
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

/// The sources below a folder, by name.
fn files(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
            "crate" => Some(Vec::new()),
            // The program knows its library by the package's name.
            "arena" | "lab" if self.file == "main.rs" => Some(Vec::new()),
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
