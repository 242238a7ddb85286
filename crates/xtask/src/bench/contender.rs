//! Who is measured: how each server is started, and what it is asked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testkit::find_program;

use super::process::rest;

/// The processors that generator and server are pinned to.
pub(crate) const GENERATOR: usize = 0;
const SERVER: usize = 1;

/// No server takes longer to start than this.
const DEADLINE: Duration = Duration::from_secs(10);

/// One start says little: what else the machine does takes as long.
const STARTS: usize = 15;

/// Its connections are enough for each case; waiting for the end of a request would be no work.
const SERVIDOR: &str = "--listen 127.0.0.1:PORT --metrics-listen 127.0.0.1:0 --max-connections 19000 \
                        --unterminated-wait 1ms --log-level";

/// A server to be measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// With `PORT` in place of its port, and `''` in place of an empty word.
    arguments: String,
    /// What it is asked, in the generator's notation; numbers of every class if `None`.
    request: Option<&'static str>,
    /// Whether it answers a request without a line end, and then closes.
    pub(crate) answers_unterminated: bool,
}

/// What a server may run on.
#[derive(Clone, Copy)]
pub(crate) enum Workers {
    /// A processor that it has to itself, with its own default of threads.
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
    /// The bare loop first, then others that are installed, then ours; what its log lines cost is the difference between the
    /// last two.
    pub(crate) fn all(echo: PathBuf, servidor: &Path) -> Vec<Self> {
        let new = |name, program: Option<PathBuf>, arguments: &str, request| {
            let arguments = arguments.to_owned();
            Some(Self { name, program: program?, arguments, request, answers_unterminated: false })
        };
        let redis = "--port PORT --maxclients 19000 --bind 127.0.0.1 --save '' --appendonly no";
        let memcached = "-l 127.0.0.1 -p PORT -U 0 -t 1 -u root -c 19000";
        // Keys that are not there. `mn` of memcached would not say so.
        let (get, meta_get) = ("*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nx\\r\\n", "mg x\\r\\n");
        let others = [
            new("bare epoll echo", Some(echo), "PORT", None),
            new("redis", find_program("redis-server"), redis, Some(get)),
            new("memcached", find_program("memcached"), memcached, Some(meta_get)),
        ];
        let ours = [("servidor, errors only", "error"), ("servidor", "info")].map(|(name, level)| {
            let contender = new(name, Some(servidor.to_owned()), &format!("{SERVIDOR} {level}"), None);
            contender.map(|contender| Self { answers_unterminated: true, ..contender })
        });
        others.into_iter().chain(ours).flatten().collect()
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
        // A port that is free now: nobody else here asks for one by number.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let log = File::create(folder.join(format!("{}.log", self.name.replace(' ', "_"))))?;
        let processors = match workers {
            Workers::OneProcessor => SERVER.to_string(),
            Workers::Two => format!("{GENERATOR},{SERVER}"),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &processors]).arg(&self.program);
        let arguments = self.arguments.replace("PORT", &port.to_string());
        command.args(arguments.split(' ').map(|word| word.trim_matches('\'')));
        // Cargo's search path for libraries, which would be searched at each start.
        command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
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

    fn await_first_reply(&self, started: Instant) -> anyhow::Result<()> {
        let mut stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(stream) => break stream,
                Err(error) if started.elapsed() > DEADLINE => return Err(error.into()),
                // Without a pause, this would take processor time from the server.
                Err(_) => rest(Duration::from_micros(50)),
            }
        };
        stream.set_read_timeout(Some(DEADLINE))?;
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
