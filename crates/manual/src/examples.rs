//! The examples of the man pages, tried by the tests.

/// What a daemon's pages show.
pub(crate) struct Examples {
    /// What each line is for, and the line as typed.
    pub(crate) commands: &'static [(&'static str, &'static str)],
    /// A settings file.
    pub(crate) settings: &'static str,
}

pub(crate) const SERVIDOR: Examples = Examples {
    commands: &[
        ("Serve this host and a network:", "servidor --listen 0.0.0.0:8888 --allow 127.0.0.0/8,192.0.2.0/24"),
        ("Ask by hand:", r"printf '4\n-7\n12345678901\n' | nc -N 127.0.0.1 8888"),
        ("Check the service's settings:", "servidor --check-config --config /etc/servidor/servidor.toml"),
        ("Apply them if they are right:", "systemctl reload servidor"),
        ("Ask whether the service is ready:", "servidor --check-health && echo ready"),
    ],
    settings: "allow = [\"127.0.0.0/8\", \"::1/128\", \"192.0.2.0/24\"]\nmax-connections = 100\nidle-timeout = \"30s\"\n\
               log-level = \"warn\"\n",
};

pub(crate) const CLIENTE: Examples = Examples {
    commands: &[
        ("Ask another host ten times, and sum up:", "cliente --target servidor.example:8888 --count 10"),
        ("Ask two servers every second:", "cliente --target 192.0.2.10:8888,192.0.2.11:8888 --interval 1s"),
        (
            "Load a server with 20,000 requests a second:",
            "cliente bench --target 192.0.2.10:8888 --rate 20000 --duration 30s",
        ),
        ("Check the service's settings:", "cliente --check-config --config /etc/cliente/cliente.toml"),
        ("Apply them if they are right:", "systemctl reload cliente"),
    ],
    settings: "target = [\"192.0.2.10:8888\", \"servidor.example:8888\"]\ninterval = \"1s\"\nconnection = \"kept\"\n\
               log-level = \"warn\"\n",
};

#[cfg(test)]
mod tests {
    use std::fs;

    use daemon::settings::{Program, Section, Value as _, command, start};

    use super::*;

    /// Reads the command lines and the file; nothing is started.
    fn is_read<S: Section>(program: &Program, examples: &Examples) {
        let name = format!("{} ", program.name);
        let mut tried = 0;
        for (_, line) in examples.commands.iter().filter(|(_, line)| line.starts_with(&name)) {
            let words = line.split(" && ").next().unwrap().split(' ');
            command::<S>(program).try_get_matches_from(words.clone()).unwrap();
            if !line.contains("--config ") && !line.contains("--check-health") {
                start::<S>(program, words.map(Into::into)).unwrap();
            }
            tried += 1;
        }
        assert!(tried > 0);
        let file = std::env::temp_dir().join(format!("{}-{}.toml", program.name, std::process::id()));
        fs::write(&file, examples.settings).unwrap();
        let read = start::<S>(program, [program.name.into(), "--config".into(), file.clone().into()]);
        fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap().settings.common.log_level.to_toml(), "\"warn\"");
    }

    #[test]
    fn the_daemons_accept_their_examples() {
        is_read::<servidor::settings::Own>(&servidor::settings::PROGRAM, &SERVIDOR);
        is_read::<cliente::settings::Own>(&cliente::settings::PROGRAM, &CLIENTE);
    }
}
