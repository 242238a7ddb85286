//! Who is measured: how each server is started, and what it is asked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::process::rest;
use testkit::find_program;

/// The processors that generator and server are pinned to.
pub(crate) const GENERATOR: usize = 0;
const SERVER: usize = 1;

/// No server takes longer to start than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// One start says little: what else the machine does takes as long.
const STARTS: usize = 15;

/// Enough for the most connections that a case opens.
const MOST_CONNECTIONS: &str = "19000";

/// A server to be measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: fn(port: &str) -> Vec<String>,
    /// What it is asked, in the generator's notation; numbers of every class if `None`.
    request: Option<&'static str>,
    /// Whether it answers a request without a line end, and closes then.
    pub(crate) answers_unterminated: bool,
}

/// What a server may run on.
#[derive(Clone, Copy)]
pub(crate) enum Workers {
    /// Its own, with its own default of threads.
    OneProcessor,
    /// Both, which it shares with the generator.
    Two,
}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) request: Option<&'static str>,
    start_to_first_reply: Duration,
}

impl Contender {
    pub(crate) fn bare(program: PathBuf) -> Self {
        Self {
            name: "bare epoll echo",
            program,
            arguments: |port| vec![port.to_owned()],
            request: None,
            answers_unterminated: false,
        }
    }

    pub(crate) fn servidor(program: PathBuf) -> Self {
        let arguments = |port: &str| {
            let listen = format!("127.0.0.1:{port}");
            let limit = ["--max-connections", MOST_CONNECTIONS];
            // The wait for the end of a request is no work.
            let wait = ["--unterminated-wait", "1ms"];
            let metrics = ["--metrics-listen", "127.0.0.1:0"];
            [words(&["--listen", &listen]), words(&metrics), words(&limit), words(&wait)].concat()
        };
        Self { name: "servidor", program, arguments, request: None, answers_unterminated: true }
    }

    /// What its log lines cost is the difference to this one.
    pub(crate) fn silent_servidor(program: PathBuf) -> Self {
        let arguments = |port: &str| {
            let usual = (Self::servidor(PathBuf::new()).arguments)(port);
            [usual, words(&["--log-level", "error"])].concat()
        };
        Self { name: "servidor, errors only", program, arguments, request: None, answers_unterminated: true }
    }

    /// Asked for a key that is not there.
    pub(crate) fn redis() -> Option<Self> {
        let arguments = |port: &str| {
            let quiet = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            [words(&["--port", port, "--maxclients", MOST_CONNECTIONS]), words(&quiet)].concat()
        };
        let request = Some("*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nx\\r\\n");
        Some(Self {
            name: "redis",
            program: find_program("redis-server")?,
            arguments,
            request,
            answers_unterminated: false,
        })
    }

    /// Asked for a key that is not there, and says so: `mn` would be silent about it.
    pub(crate) fn memcached() -> Option<Self> {
        let arguments = |port: &str| {
            let limit = ["-c", MOST_CONNECTIONS];
            words(&["-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "1", "-u", "root", limit[0], limit[1]])
        };
        let request = Some("mg x\\r\\n");
        Some(Self {
            name: "memcached",
            program: find_program("memcached")?,
            arguments,
            request,
            answers_unterminated: false,
        })
    }

    /// How long it takes from its start to its first reply: the median of some starts, in seconds.
    pub(crate) fn time_to_start(&self, folder: &Path) -> anyhow::Result<f64> {
        let times = (0..STARTS).map(|_| Ok(self.start(folder, Workers::OneProcessor)?.start_to_first_reply));
        let mut times = times.collect::<anyhow::Result<Vec<Duration>>>()?;
        times.sort();
        Ok(times[STARTS / 2].as_secs_f64())
    }

    /// Starts it, and waits for its first reply.
    pub(crate) fn start(&self, folder: &Path, workers: Workers) -> anyhow::Result<Server> {
        let port = free_port()?;
        let log = File::create(folder.join(format!("{}.log", self.name.replace(' ', "_"))))?;
        let processors = match workers {
            Workers::OneProcessor => SERVER.to_string(),
            Workers::Two => format!("{GENERATOR},{SERVER}"),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &processors]).arg(&self.program);
        // Cargo's search path for libraries, which would be searched at each start.
        command.env_remove("LD_LIBRARY_PATH").args((self.arguments)(&port.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let mut server = Server { child, port, request: self.request, start_to_first_reply: Duration::ZERO };
        server.await_first_reply(started).with_context(|| format!("{} does not answer", self.name))?;
        server.start_to_first_reply = started.elapsed();
        Ok(server)
    }
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn await_first_reply(&mut self, started: Instant) -> anyhow::Result<()> {
        let mut stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(stream) => break stream,
                Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
                // Trying on and on would take the server's processor from it.
                Err(_) => rest(Duration::from_micros(50)),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = self.request.unwrap_or("7\\n").replace("\\r", "\r").replace("\\n", "\n");
        stream.write_all(request.as_bytes())?;
        anyhow::ensure!(stream.read(&mut [0; 64])? > 0, "it closed the connection");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now: nobody else here asks for one by number.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
