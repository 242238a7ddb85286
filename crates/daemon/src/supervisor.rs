//! Supervises a running daemon: signals, reloads, the watchdog, and the upkeep of logs and metrics.

use std::future::{Future, pending};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::container;
use crate::exit::in_one_line;
use crate::http::page::Sections;
use crate::logging::Logging;
use crate::metrics::telemetry::Telemetry;
use crate::phase::Phase;
use crate::settings::{Change, NearMiss, Section, Setting, SettingErrors, Settings, Source};
use crate::signals::{Request, Requests};
use crate::systemd::notifier::Notifier;
use crate::systemd::watchdog::{Ticks, Watchdog};

/// The last quarter of a drain's time starts only when the rest has passed. So connections still get some time if the process
/// was suspended meanwhile.
const LAST_TURN: u32 = 4;

/// The service manager is told that a stop may take so much longer than its own time limit.
const NOTICE: Duration = Duration::from_secs(1);

/// What a daemon reports about itself.
pub trait Supervised: Send + Sync {
    /// Its own settings.
    type Own: Section;

    /// One short line with its counts, for `systemctl status`.
    fn status(&self) -> String;

    /// Its sections of the page for people.
    fn page(&self) -> Sections;

    /// Logs its state in one line.
    fn report(&self, uptime: Duration);

    /// Starts a new second for the budgets of its log events. Returns how many were suppressed in the last one.
    fn refill_budgets(&self, per_second: u32) -> u64;

    /// Updates the recorder. Appends the metrics that the recorder does not keep, in the exposition format.
    fn own_metrics(&self, _text: &mut String) {}
}

/// Why a daemon that still runs has failed: one of its tasks is gone.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It cannot go on.
    #[error("a task of the daemon ended by itself")]
    Ended(#[source] io::Error),
    /// It panicked.
    #[error("a task of the daemon failed")]
    Failed(#[source] JoinError),
}

/// See the module.
pub struct Supervisor<D: Supervised> {
    daemon: Arc<D>,
    source: Source,
    settings: watch::Sender<Arc<Settings<D::Own>>>,
    /// The settings of the start. Those that need a restart still apply.
    started: Arc<Settings<D::Own>>,
    phase: watch::Sender<Phase>,
    /// When the daemon started, by the monotonic clock.
    begun: Instant,
    logging: Arc<Logging>,
    telemetry: Arc<Telemetry>,
    notifier: Notifier,
    watchdog: Watchdog,
    requests: Requests,
    upkeep: Interval,
    pings: Ticks,
    status: String,
    /// Whether the last reload was refused.
    is_reload_refused: bool,
    /// The other files of the settings, as they were when they were read last.
    files: Vec<Stamp>,
}

impl<D: Supervised> Supervisor<D> {
    /// Nothing is reported to anyone before [`Supervisor::ready`].
    pub fn new(
        daemon: Arc<D>,
        source: Source,
        settings: watch::Sender<Arc<Settings<D::Own>>>,
        requests: Requests,
        logging: Arc<Logging>,
        telemetry: Arc<Telemetry>,
        watchdog: Watchdog,
    ) -> Self {
        let mut upkeep = interval(Duration::from_secs(1));
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pings = watchdog.ticks();
        let started = settings.borrow().clone();
        for NearMiss { variable, expected } in source.near_misses::<D::Own>() {
            tracing::warn!(variable, expected, "unknown variable");
        }
        Self {
            daemon,
            source,
            started,
            settings,
            phase: watch::Sender::new(Phase::Starting),
            begun: Instant::now(),
            logging,
            telemetry,
            notifier: Notifier::from_environment(),
            watchdog,
            requests,
            upkeep,
            pings,
            status: String::new(),
            is_reload_refused: false,
            files: Vec::new(),
        }
    }

    /// The daemon's phase, and its changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Sends messages to the service manager.
    pub fn notifier(&mut self) -> &mut Notifier {
        &mut self.notifier
    }

    /// Announces that the daemon is ready.
    pub fn ready(&mut self) {
        self.phase.send_replace(Phase::Ready);
        self.notifier.ready();
        container::explain_loopback();
    }

    /// Runs until a stop is requested.
    ///
    /// # Errors
    ///
    /// If one of `tasks` ends or panics. None of them should.
    pub async fn until_stop(&mut self, tasks: &mut JoinSet<io::Error>) -> Result<(), TaskError> {
        self.run(tasks, pending()).await
    }

    /// Announces a stop that begins after `delay`, and is over after `patience` more. Until then all goes on.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::until_stop`].
    pub async fn announce_stop(
        &mut self,
        delay: Duration,
        patience: Duration,
        tasks: &mut JoinSet<io::Error>,
    ) -> Result<(), TaskError> {
        if delay.is_zero() {
            return Ok(());
        }
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(delay_ms, "stop announced");
        self.phase.send_replace(Phase::Stopping);
        self.notifier.stopping(delay + patience + NOTICE);
        self.run(tasks, sleep(delay)).await
    }

    /// Runs until `end`, or until a stop is requested.
    async fn run(
        &mut self,
        tasks: &mut JoinSet<io::Error>,
        end: impl Future<Output = ()>,
    ) -> Result<(), TaskError> {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                request = self.requests.next() => match request {
                    Request::Stop => return Ok(()),
                    Request::Reload => self.reload(),
                    Request::Report => self.daemon.report(self.begun.elapsed()),
                },
                Some(ended) = tasks.join_next() => {
                    return Err(ended.map_or_else(TaskError::Failed, TaskError::Ended));
                }
                _ = self.upkeep.tick() => self.do_upkeep(),
                () = self.pings.next() => self.ping(),
                () = self.notifier.resend() => {}
            }
        }
    }

    /// Waits for `work` to end, at most `patience`. Returns whether it did.
    pub async fn drain(&mut self, patience: Duration, work: impl Future<Output = ()>) -> bool {
        self.phase.send_replace(Phase::Stopping);
        self.notifier.stopping(patience + NOTICE);
        let ended = self.drain_until(patience, work).await;
        // The last second's suppressed events are summed up too.
        self.do_upkeep();
        ended
    }

    async fn drain_until(&mut self, patience: Duration, work: impl Future<Output = ()>) -> bool {
        let last_turn = patience / LAST_TURN;
        let deadline = sleep(patience.saturating_sub(last_turn));
        let mut is_last_turn = false;
        tokio::pin!(work, deadline);
        loop {
            tokio::select! {
                biased;
                () = &mut work => return true,
                () = &mut deadline => {
                    if is_last_turn {
                        return false;
                    }
                    is_last_turn = true;
                    deadline.set(sleep(last_turn));
                }
                request = self.requests.next() => if request == Request::Report {
                    self.daemon.report(self.begun.elapsed());
                },
                _ = self.upkeep.tick() => self.do_upkeep(),
                () = self.pings.next() => self.ping(),
                () = self.notifier.resend() => {}
            }
        }
    }

    fn do_upkeep(&mut self) {
        let per_second = self.settings.borrow().common.log_events_per_second.get();
        self.telemetry.events_suppressed(self.daemon.refill_budgets(per_second));
        self.telemetry.lines_dropped(self.logging.lines_dropped());
        self.telemetry.upkeep();
        self.follow_files();
        self.update_status();
    }

    /// Reads the other files of the settings again if one of them has changed.
    fn follow_files(&mut self) {
        let running = self.settings.borrow().clone();
        let stamps = stamps(&running.own.files());
        if stamps == self.files {
            return;
        }
        if self.is_reload_refused {
            // A file may be why: the reload that was asked for is tried again, as a whole.
            return self.reload();
        }
        self.files = stamps;
        let read = running.own.read_files_again().map(|own| Settings { own, common: running.common.clone() });
        if read.as_ref().is_ok_and(|settings| settings.own == running.own) {
            return;
        }
        self.take(read.and_then(claimed));
    }

    fn update_status(&mut self) {
        let mut status = self.daemon.status();
        if self.is_reload_refused {
            status = format!("last reload refused, see the log; {status}");
        }
        if status != self.status && self.notifier.status(&status) {
            self.status = status;
        }
    }

    fn ping(&mut self) {
        if self.watchdog.all_beat() {
            self.notifier.watchdog();
        }
    }

    fn reload(&mut self) {
        self.notifier.reloading();
        // Before they are read: what changes meanwhile is seen later.
        self.files = stamps(&self.settings.borrow().own.files());
        let read = self.source.read_again().map_err(|errors: SettingErrors| errors.in_one_line());
        self.take(read.and_then(claimed));
        self.update_status();
        self.notifier.ready();
    }

    /// Puts settings into force, or says why not.
    fn take(&mut self, read: Result<Settings<D::Own>, String>) {
        self.telemetry.reloaded(read.is_ok());
        self.is_reload_refused = read.is_err();
        match read {
            Ok(settings) => self.apply(settings),
            Err(error) => tracing::error!(error, "reload failed"),
        }
    }

    fn apply(&mut self, mut settings: Settings<D::Own>) {
        let running = self.settings.borrow().clone();
        let names = |differences: Vec<Setting>, change| {
            differences
                .into_iter()
                .filter(move |setting| setting.change == change)
                .map(|setting| setting.name)
        };
        for setting in names(settings.differences(&self.started), Change::Restart) {
            tracing::warn!(setting, "setting needs a restart");
        }
        settings.keep_until_restart(&self.started);
        let changed: Vec<String> = names(settings.differences(&running), Change::Live).collect();
        self.logging.set_level(&settings.common.log_level);
        self.settings.send_replace(Arc::new(settings));
        tracing::info!(changed = changed.join(", "), "reloaded");
    }
}

fn claimed<S: Section>(settings: Settings<S>) -> Result<Settings<S>, String> {
    match settings.own.claim(&settings.common) {
        Ok(()) => Ok(settings),
        Err(error) => Err(in_one_line(&error)),
    }
}

/// What tells that a file has changed: its time, size, device and inode; none if it is not there.
type Stamp = Option<(i64, i64, u64, u64, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.dev(), metadata.ino()))
    };
    files.iter().map(stamp).collect()
}
