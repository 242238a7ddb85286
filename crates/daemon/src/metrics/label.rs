//! Declares an enum whose values are label values in metrics and fields in logs.

/// Declares an enum whose variants are named in logs and metrics.
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* pub enum $label:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $label {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $label {
            /// All values, each at its [`Self::index`].
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name in logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares what others use")]
mod tests {
    label! {
        /// A label for this test.
        pub enum Side {
            /// One.
            Left = "left_side",
            /// The other.
            Right = "right",
        }
    }

    #[test]
    fn values_have_their_names_and_positions() {
        assert_eq!(Side::ALL.map(|side| (side.index(), side.as_str())), [(0, "left_side"), (1, "right")]);
    }
}
