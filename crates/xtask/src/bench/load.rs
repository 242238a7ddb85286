//! Runs the generator, `epoll_load`, which waits for a line before it begins, and for the end of its input before it ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use super::Bench;
use super::contender::{GENERATOR, Server};
use super::process::cpu_time;

/// How the server is asked.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) mode: &'static str,
    pub(crate) connections: u32,
    pub(crate) depth: u32,
    pub(crate) requests: u32,
    /// Per second; 0 is no limit.
    pub(crate) rate: u32,
}

impl Shape {
    /// Connections that stay open, each with this many requests at a time.
    pub(crate) fn kept(connections: u32, depth: u32, requests: u32) -> Self {
        Self { mode: "kept", connections, depth, requests, rate: 0 }
    }
}

/// A generator whose connections are open.
pub(crate) struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Of the server, in nanoseconds.
    pub(crate) cpu_per_request: f64,
    pub(crate) requests_per_second: f64,
}

impl Load {
    /// Opens the connections; each has had one reply then.
    pub(crate) fn open(bench: &Bench, server: &Server, shape: Shape) -> anyhow::Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", &GENERATOR.to_string()]).arg(&bench.load).args(["-m", shape.mode]);
        for (flag, value) in
            [("-c", shape.connections), ("-d", shape.depth), ("-n", shape.requests), ("-r", shape.rate)]
        {
            command.args([flag, &value.to_string()]);
        }
        command.args(server.request.iter().flat_map(|request| ["-q", request]));
        command.args(["127.0.0.1", &server.port.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("it is piped")?);
        let mut load = Self { child, input, output };
        anyhow::ensure!(load.line()? == "ready\n", "the generator could not open its connections");
        Ok(load)
    }

    /// Sends all requests.
    pub(crate) fn run(&mut self, server: &Server) -> anyhow::Result<Outcome> {
        let before = cpu_time(server.id())?;
        self.input.as_mut().context("it is open until the end")?.write_all(b"\n")?;
        let line = self.line()?;
        let cpu = cpu_time(server.id())?.saturating_sub(before);
        let figure = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<f64>().ok()).with_context(|| format!("no {name}: {line}"))
        };
        let requests = figure("requests")?;
        Ok(Outcome {
            cpu_per_request: cpu.as_secs_f64() * 1e9 / requests,
            requests_per_second: requests / figure("seconds")?,
        })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
