//! What a machine can check of the docs and the units: that the READMEs are twins, that links lead somewhere, and the like.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::docs::{Document, READMES, read};

const DOCS: [&str; 7] = [
    "README.md",
    "README.pt-BR.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What does not depend on the language: names in the first column of tables, and what is typed and shown in terminals,
/// without comments.
fn facts(file: &str) -> Vec<String> {
    let Document { tables, code_blocks, .. } = Document::read(file);
    let names = tables.iter().flat_map(|table| &table.rows).filter_map(|row| row.first()).flatten().cloned();
    let typed = code_blocks.iter().flat_map(|block| block.text.lines());
    let typed = typed.map(|line| line.split(" # ").next().unwrap_or(line).trim_end().to_owned());
    names.chain(typed).filter(|fact| !fact.is_empty()).collect()
}

#[test]
fn the_readmes_are_twins() {
    let [english, portuguese] = READMES.map(facts);
    assert!(english.len() > 100, "the READMEs hold tables and terminals");
    for (english, portuguese) in english.iter().zip(&portuguese) {
        assert_eq!(english, &portuguese.replace("ARQUIVO", "FILE"));
    }
    assert_eq!(english.len(), portuguese.len());
}

#[test]
fn the_map_has_every_module() {
    let tables = Document::read("ARCHITECTURE.md").tables;
    for name in ["protocol", "daemon", "servidor", "cliente"] {
        let is_its_table = |rows: &[Vec<Vec<String>>]| rows[0][0].contains(&format!("crates/{name}"));
        let table = tables.iter().find(|table| is_its_table(&table.rows));
        let table = table.unwrap_or_else(|| panic!("no table of crates/{name}"));
        let named: Vec<&str> =
            table.rows.iter().flatten().flatten().map(|code| code.trim_end_matches('/')).collect();
        for entry in fs::read_dir(root().join("crates").join(name).join("src")).expect("sources") {
            let path = entry.expect("an entry of a folder").path();
            let module = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
            let is_module = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
            if is_module && !["lib", "main"].contains(&module) {
                assert!(named.contains(&module), "the map of crates/{name} has no `{module}`");
            }
        }
    }
}

#[test]
fn links_between_files_lead_somewhere() {
    let mut followed = 0;
    for file in DOCS {
        let links = Document::read(file).links;
        for link in links.iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = link.split('#').next().unwrap_or(link);
            assert!(root().join(target).exists(), "{file} links to {target}, which is not there");
            followed += 1;
        }
    }
    assert!(followed > 0, "the docs link to each other");
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
        for file in READMES {
            assert!(Document::read(file).headings.contains(alert), "{file} has no runbook of {alert}");
        }
    }
}

#[test]
fn an_instance_of_cliente_is_run_as_cliente_is() {
    let shipped = |name: &str| read(&format!("deploy/systemd/{name}.service"));
    let service = shipped("cliente").replace("/etc/cliente/cliente.toml", "/etc/cliente/%i.toml");
    let instance = shipped("cliente@").replace(" (%i)\n", "\n");
    let (_, instance) = instance.split_once("\n\n").expect("a comment, then the unit");
    assert_eq!(instance, service);
}
