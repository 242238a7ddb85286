//! No more files can be opened: rounds fail, a scrape is answered, and rounds go right again afterwards.

mod support;

use support::{daemon, honest};
use testkit::{get, scrape, scrape_until};

#[test]
fn a_scrape_is_answered_while_no_files_are_left_and_rounds_go_right_afterwards() {
    let target = honest().to_string();
    let daemon = daemon(&["--target", &target, "--interval", "100ms"]);
    daemon.wait_for("round completed");
    let http = daemon.metrics_address();
    let limit = daemon.use_up_files();
    let failed = daemon.wait_for("round failed");
    assert_eq!(failed["reason"], "other", "{failed}");
    assert!(failed["error"].as_str().is_some_and(|text| text.contains("Too many open files")), "{failed}");
    daemon.wait_for("control round failed");

    for _ in 0..50 {
        let metrics = scrape(http);
        assert_eq!(metrics.count("process_max_fds", &[]), limit);
        assert!(metrics.sum("cliente_round_failures_total", &[("reason", "other")]) > 0);
        assert_eq!(get(http, "/-/ready").expect("an answer"), "ready\n");
    }
    assert_eq!(daemon.lines_with("metrics accept failed").len(), 0, "no client of it had to wait");

    daemon.limit_open_files(512);
    let seen = daemon.lines_with("round completed").len();
    daemon.wait_for_another("round completed", seen);
    daemon.wait_for("control round recovered");
    scrape_until(http, "it is well", |metrics| metrics.value("cliente_control_up", &[]) > 0.5);
}
