//! The icons of the page's tab. They differ in shape as well as in colour.

use std::fmt::{self, Display};

/// How a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All is well: a disc with a tick.
    Good,
    /// Nothing is known yet, or no more: a ring.
    Unknown,
    /// Something fails: a square with a cross.
    Bad,
}

impl Level {
    /// The class in the style.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Bad => "bad",
        }
    }

    const fn shapes(self) -> &'static str {
        match self {
            Self::Good => {
                "<circle cx='8' cy='8' r='8' fill='%230f766e'/><path d='M4 8.5l3 3 5-6' stroke='white'/>"
            }
            Self::Unknown => "<circle cx='8' cy='8' r='6.5' stroke='%23b45309' stroke-dasharray='4 2.8'/>",
            Self::Bad => {
                "<path d='M0 0h16v16H0z' fill='%23b91c1c'/><path d='M4.5 4.5l7 7m0-7l-7 7' stroke='white'/>"
            }
        }
    }
}

/// The icon of a level, as a URL for a double-quoted attribute.
pub(crate) struct Icon(pub(crate) Level);

impl Display for Icon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.0.shapes().replace('<', "%3C").replace('>', "%3E");
        write!(
            formatter,
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' \
             stroke-width='2.5'%3E{shapes}%3C/svg%3E"
        )
    }
}
