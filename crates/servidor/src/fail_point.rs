//! Places where a test can make the daemon fail. Releases do not contain them.

/// The variable that names a place: `NAME:EVENT_LOOP`.
const VARIABLE: &str = "SERVIDOR_FAIL_POINT";

/// Panics if the variable names this place.
pub(crate) fn reached(name: &str, event_loop: usize) {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    assert!(wanted != format!("{name}:{event_loop}"), "the fail point {wanted} was reached");
}
