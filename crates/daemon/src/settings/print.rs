//! Settings as TOML: those in force, and the file with comments that a package installs.

use std::fmt::Write as _;

use super::{Change, Section, Setting, Settings};

/// The settings in force, one per line, as `--check-config` prints them.
pub fn effective_config<S: Section>(settings: &Settings<S>) -> String {
    Settings::<S>::schema().iter().zip(settings.values()).fold(String::new(), |mut text, (setting, value)| {
        let _ = writeln!(text, "{} = {value}", setting.name);
        text
    })
}

/// A file that explains every setting. Each is commented out, with its default.
pub fn default_config(program: &str, schema: &[Setting]) -> String {
    let mut text = format!(
        "# The settings of {program}, each at its default. See {program}.toml(5).\n\
         # Flags win over variables, variables over this file. After a change: systemctl reload {program}\n"
    );
    for setting in schema {
        text.push('\n');
        for line in setting.doc.lines() {
            let _ = writeln!(text, "#{}", line.trim_end());
        }
        if setting.change == Change::Restart {
            text.push_str("# A change takes effect at a restart.\n");
        }
        let _ = writeln!(text, "#{} = {}", setting.name, default_in_toml(setting));
    }
    text
}

fn default_in_toml(setting: &Setting) -> String {
    if setting.list {
        let items: Vec<String> =
            setting.default.split_terminator(',').map(|item| format!("{:?}", item.trim())).collect();
        format!("[{}]", items.join(", "))
    } else if setting.bare && setting.default.parse::<u64>().is_ok() {
        setting.default.to_owned()
    } else {
        format!("{:?}", setting.default)
    }
}
