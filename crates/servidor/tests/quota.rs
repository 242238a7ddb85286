//! A daemon with a processor quota, as in a container with a limit: its replies are late, but right.

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use common::start;
use testkit::cgroup::Cgroup;
use testkit::{Peer, allow_open_files, scrape_until};

const WAIT: Duration = Duration::from_millis(300);
const CLIENTS: usize = 300;
/// At one hundredth of a processor it takes longer than [`WAIT`] to answer all that is sent.
const BATCH: &str = "2\n7\n12345678901\n";
const BATCH_REPLIES: &str = "PAR\nÍMPAR\n12345678901\n";
const BATCHES: usize = 60;

/// A client that sends bare digits in two pieces.
struct InTwoPieces {
    peer: Peer,
    began: Instant,
    took: Duration,
}

impl InTwoPieces {
    fn begin(mut peer: Peer) -> Self {
        let began = Instant::now();
        peer.send("1");
        Self { peer, began, took: Duration::MAX }
    }

    fn end(&mut self) {
        // After too long a silence the daemon may have answered already, and closed.
        let _ = self.peer.stream().write_all(b"2");
        self.took = self.began.elapsed();
    }

    /// Whether the answer is right: that to 12, unless the silence between the pieces was too long.
    fn is_answered(&mut self) -> bool {
        self.took >= WAIT || self.peer.rest() == "PAR"
    }
}

#[test]
fn every_reply_is_right_under_a_processor_quota() {
    allow_open_files();
    for cgroup in Cgroup::all_with("cpu") {
        let daemon = start(&[
            "--unterminated-wait=300ms",
            "--max-connections=600",
            "--worker-threads=1",
            "--log-events-per-second=0",
        ]);
        let connect = || (0..CLIENTS).map(|_| Peer::connect(daemon.address())).collect::<Vec<Peer>>();
        let (bare, mut batching) = (connect(), connect());
        scrape_until(daemon.metrics_address(), "all are served", |metrics| {
            metrics.count("servidor_connections_active", &[]) == 600
        });
        cgroup.add(&daemon);
        cgroup.limit_processor(1);

        let mut bare: Vec<InTwoPieces> = bare.into_iter().map(InTwoPieces::begin).collect();
        for peer in &mut batching {
            peer.send(BATCH.repeat(BATCHES));
        }
        bare.iter_mut().for_each(InTwoPieces::end);

        let answered = bare.iter_mut().map(InTwoPieces::is_answered);
        let wrong = answered.filter(|is_right| !is_right).count();
        assert_eq!(wrong, 0, "of {CLIENTS} replies to 12");
        for peer in &mut batching {
            peer.finish();
            assert_eq!(peer.rest(), BATCH_REPLIES.repeat(BATCHES));
        }
    }
}
