//! A headless Chromium, driven over two pipes by its own protocol: JSON messages, each ended by a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::DEADLINE;

/// The browser with one tab. It ends when this is dropped.
pub(super) struct Browser {
    process: Child,
    profile: PathBuf,
    requests: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Value,
    /// What the tab has reported since the page was opened.
    events: Vec<Value>,
}

impl Browser {
    pub(super) fn start() -> anyhow::Result<Self> {
        let profile = std::env::temp_dir().join(format!("canary-chromium-{}", std::process::id()));
        // The protocol wants the descriptors 3 and 4. Without a sandbox, because root may have none; it sees our pages only.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh", "chromium", "--headless"])
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromium")?;
        let requests = process.stdin.take().context("standard input is piped")?;
        let answers = process.stdout.take().context("standard output is piped")?;
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                if sender.send(serde_json::from_slice(&message).unwrap_or_default()).is_err() {
                    break;
                }
            }
        });
        let session = Value::Null;
        let mut browser =
            Self { process, profile, requests, messages, last_id: 0, session, events: Vec::new() };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?["targetId"].take();
        let attached = json!({"targetId": target, "flatten": true});
        browser.session = browser.call("Target.attachToTarget", &attached)?["sessionId"].take();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// How wide the tab is, and which of `light` and `dark` it prefers.
    pub(super) fn look_like(&mut self, width: u32, scheme: &str) -> anyhow::Result<()> {
        let metrics = json!({"width": width, "height": 1000, "deviceScaleFactor": 2, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &metrics)?;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}))?;
        Ok(())
    }

    /// Opens a page and waits until it is there.
    pub(super) fn open(&mut self, url: &str) -> anyhow::Result<()> {
        self.events.clear();
        self.call("Page.navigate", &json!({"url": url}))?;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive()?;
            self.events.push(event);
        }
        Ok(())
    }

    /// The value of a JavaScript expression; that of a promise is awaited.
    pub(super) fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &parameters)?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// The whole page as PNG, in Base64.
    pub(super) fn screenshot(&mut self) -> anyhow::Result<String> {
        let answer = self.call("Page.captureScreenshot", &json!({"captureBeyondViewport": true}))?;
        Ok(answer["data"].as_str().context("no picture")?.to_owned())
    }

    /// What the tab has reported since the page was opened: requests, console messages, exceptions.
    pub(super) fn events(&self) -> &[Value] {
        &self.events
    }

    fn call(&mut self, method: &str, parameters: &Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": parameters});
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.requests.write_all(format!("{request}\0").as_bytes())?;
        loop {
            let mut message = self.receive().with_context(|| format!("no answer to {method}"))?;
            if message["id"] != self.last_id {
                self.events.push(message);
            } else if message["error"].is_null() {
                return Ok(message["result"].take());
            } else {
                bail!("{method}: {}", message["error"]);
            }
        }
    }

    fn receive(&self) -> anyhow::Result<Value> {
        self.messages.recv_timeout(DEADLINE).context("chromium says nothing")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to end or to remove.
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
