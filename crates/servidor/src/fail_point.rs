//! Places where a test can make the daemon fail. Releases do not contain them.

use std::sync::LazyLock;

/// The variable that names a place, and the event loop or connection that fails there: `NAME:NUMBER`.
const VARIABLE: &str = "SERVIDOR_FAIL_POINT";

static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
    let value = std::env::var(VARIABLE).ok()?;
    let (name, number) = value.split_once(':')?;
    Some((name.to_owned(), number.parse().ok()?))
});

/// Panics if the variable names this place and this number.
pub(crate) fn reached(name: &str, number: u64) {
    if let Some((wanted, which)) = &*WANTED {
        assert!(wanted != name || *which != number, "the fail point {name}:{number} was reached");
    }
}
