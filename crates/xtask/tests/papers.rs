//! What a machine can check of the papers: that the READMEs are twins, and that links between files lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

const PAPERS: [&str; 6] =
    ["README.md", "README.pt-BR.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(paper: &str) -> String {
    fs::read_to_string(root().join(paper)).unwrap_or_else(|error| panic!("{paper}: {error}"))
}

/// What does not depend on the language: names in the first column of tables, and what is typed and shown in
/// terminals, without comments.
fn facts(paper: &str) -> Vec<String> {
    let text = read(paper);
    let mut in_block = false;
    let mut facts = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let typed = line.split(" # ").next().unwrap_or(line);
            facts.push(typed.trim_end().to_owned());
        } else if let Some(row) = line.strip_prefix('|') {
            let first = row.split('|').next().unwrap_or(row);
            facts.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    facts.retain(|fact| !fact.is_empty());
    facts
}

#[test]
fn the_readmes_are_twins() {
    let (english, portuguese) = (facts("README.md"), facts("README.pt-BR.md"));
    assert!(english.len() > 100, "the READMEs hold tables and terminals");
    for (english, portuguese) in english.iter().zip(&portuguese) {
        assert_eq!(english, &portuguese.replace("ARQUIVO", "FILE"));
    }
    assert_eq!(english.len(), portuguese.len());
}

#[test]
fn the_map_knows_every_module() {
    let map = read("ARCHITECTURE.md");
    for name in ["protocol", "daemon", "servidor", "cliente"] {
        let table = map.split("\n\n").find(|part| part.starts_with(&format!("| `crates/{name}`")));
        let table = table.unwrap_or_else(|| panic!("no table of crates/{name}"));
        for entry in fs::read_dir(root().join("crates").join(name).join("src")).expect("sources") {
            let path = entry.expect("an entry of a folder").path();
            let module = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
            let is_module = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
            if is_module && !["lib", "main"].contains(&module) {
                let is_there =
                    [format!("`{module}`"), format!("`{module}/`")].iter().any(|name| table.contains(name));
                assert!(is_there, "the map of crates/{name} has no `{module}`");
            }
        }
    }
}

#[test]
fn links_between_files_lead_somewhere() {
    let mut followed = 0;
    for paper in PAPERS {
        let text = read(paper);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            assert!(root().join(file).exists(), "{paper} links to {file}, which is not there");
            followed += 1;
        }
    }
    assert!(followed > 0, "the papers link to each other");
}

#[test]
fn every_alert_has_its_runbook() {
    let rules = read("deploy/prometheus/rules/alerts.yml");
    let values = |key: &str| -> Vec<String> {
        let lines = rules.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
        lines.map(str::to_owned).collect()
    };
    let (alerts, runbooks) = (values("alert: "), values("runbook_url: "));
    assert!(alerts.len() > 5 && alerts.len() == runbooks.len(), "{alerts:?} {runbooks:?}");
    for (alert, runbook) in alerts.iter().zip(runbooks) {
        let page = r#"{{ or $externalLabels.runbooks "file:///usr/share/doc/cliente/runbooks.html" }}"#;
        assert_eq!(runbook, format!("'{page}#{}'", alert.to_lowercase()));
        for paper in ["README.md", "README.pt-BR.md"] {
            assert!(read(paper).contains(&format!("\n### {alert}\n")), "{paper} does not tell of {alert}");
        }
    }
}
