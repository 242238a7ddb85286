//! What a machine can check of the docs and the units: that the READMEs are twins, that links lead somewhere, and the like.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::docs::{Document, READMES, read};

const DOCS: [&str; 8] = [
    "README.md",
    "README.pt-BR.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    PROMISES,
];
const PROMISES: &str = "docs/promises.md";

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
            let target = Path::new(file).parent().expect("a file has a folder").join(target);
            assert!(
                root().join(&target).exists(),
                "{file} links to {}, which is not there",
                target.display()
            );
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

#[test]
fn every_promise_has_a_test() {
    let mut tests = 0;
    for row in Document::read(PROMISES).tables.iter().flat_map(|table| &table.rows[1..]) {
        let cell = row.last().expect("a row has cells");
        assert!(cell.first().is_some_and(|path| is_source(path)), "{row:?} does not begin with a file");
        let mut file = String::new();
        for code in cell {
            if is_source(code) {
                file = read(&format!("crates/{code}"));
            } else {
                assert!(is_test(&file, code), "no test `{code}` in the file named before it: {row:?}");
                tests += 1;
            }
        }
    }
    assert!(tests > 100, "only {tests} tests are named");
}

fn is_source(code: &str) -> bool {
    code.contains('/') && [".rs", ".sh"].iter().any(|extension| code.ends_with(extension))
}

/// Whether the file has a test function of this name, or a check of this title.
fn is_test(file: &str, name: &str) -> bool {
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let is_function = |line: &&str| line.trim_start_matches("async ").starts_with(&format!("fn {name}("));
    let function = lines.iter().position(is_function);
    let attributes = |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
    function.is_some_and(|at| attributes(at).any(|line| line.contains("test]") || line.contains("test(")))
        || lines.iter().any(|line| line.contains("check") && line.contains(name))
}

#[test]
fn no_setting_is_without_a_test() {
    let promises = Document::read(PROMISES).tables;
    let first = |rows: &[Vec<Vec<String>>]| -> Vec<String> {
        rows[1..].iter().filter_map(|row| row.first()?.first()).cloned().collect()
    };
    for daemon in ["servidor", "cliente"] {
        let readme = Document::read("README.md").tables;
        let settings = readme.iter().find(|table| table.marker == format!("{daemon} settings"));
        let tests = promises.iter().find(|table| table.rows[0][0] == [daemon]).map(|table| &table.rows);
        let settings = first(&settings.expect("a table of settings").rows);
        assert_eq!(first(tests.expect("a table of promises")), settings, "settings of {daemon}");
    }
}

#[test]
fn nothing_that_is_defended_is_without_a_test() {
    let (security, promises) = (read("SECURITY.md"), read(PROMISES));
    let attacks = security.lines().skip_while(|line| *line != "| it | then |").skip(2);
    let attacks: Vec<&str> = attacks.take_while(|line| !line.is_empty()).collect();
    assert!(attacks.len() > 5, "the table of SECURITY.md");
    for line in attacks {
        let attack = line.split('|').nth(1).expect("a row has cells");
        let is_row = |line: &str| line.split('|').nth(1) == Some(attack);
        assert!(promises.lines().any(is_row), "{PROMISES} has no row `{attack}`");
    }
}
