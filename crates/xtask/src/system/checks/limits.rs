//! What many connections cost, against what the unit allows.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::support::{SERVER, drop_in, metrics, undo};
use crate::system::machine::Machine;

/// As many as the unit is for: see SECURITY.md.
const CONNECTIONS: u32 = 3072;

pub(super) fn many_connections(machine: &Machine) -> String {
    // Our own end of each connection takes a descriptor too.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("a soft limit may be raised up to the hard one");

    drop_in(
        machine,
        "servidor.service",
        &format!("[Service]\nEnvironment=SERVIDOR_MAX_CONNECTIONS={CONNECTIONS}\n"),
    );
    machine.sh("systemctl stop cliente; systemctl restart servidor");
    let open = machine.on_network(|| (0..CONNECTIONS).map(|_| greeted()).collect::<Vec<_>>());
    assert_eq!(
        metrics(machine, "servidor").count("servidor_connections_active", &[]),
        u64::from(CONNECTIONS)
    );
    let number = |name| -> u64 {
        let value = machine.property("servidor", name);
        value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}"))
    };
    let (memory, memory_limit) = (number("MemoryCurrent"), number("MemoryMax"));
    let (tasks, tasks_limit) = (number("TasksCurrent"), number("TasksMax"));
    assert!(memory < memory_limit, "{memory} of {memory_limit} bytes");
    assert!(tasks < tasks_limit, "{tasks} of {tasks_limit} tasks");
    assert_eq!(machine.property("servidor", "NRestarts"), "0");
    drop(open);
    undo(machine);
    format!("{} of {} MiB, {tasks} of {tasks_limit} tasks", memory >> 20, memory_limit >> 20)
}

/// A connection that has had one answer, and stays open.
fn greeted() -> TcpStream {
    let mut stream = TcpStream::connect(SERVER).expect("there is room for all");
    stream.write_all(b"2\n").expect("a question can be sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"PAR\n");
    stream
}
