//! Draws the numbers to ask about, so that every class and every length occurs.
//!
//! Drawn uniformly over the whole range, an even or odd answer would come once in 10^20.

use protocol::{MAX_DIGITS, Number};
use rand::{Rng, RngExt};

/// Draws how many digits, 1 to 30, then a number among those with exactly that many; each choice is uniform.
///
/// # Panics
///
/// Never: what is drawn are digits, and no more than a number may have.
pub fn draw(rng: &mut impl Rng) -> Number {
    let mut digits = [0; MAX_DIGITS];
    let digits = &mut digits[..rng.random_range(1..=MAX_DIGITS)];
    for digit in digits.iter_mut() {
        *digit = rng.random_range(b'0'..=b'9');
    }
    if digits.len() > 1 {
        digits[0] = rng.random_range(b'1'..=b'9');
    }
    Number::parse(digits).expect("1 to 30 digits are a number")
}

#[cfg(test)]
mod tests {
    use protocol::Class;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn draws() -> Vec<Number> {
        let mut rng = StdRng::seed_from_u64(30);
        (0..30_000).map(|_| draw(&mut rng)).collect()
    }

    #[test]
    fn each_length_is_as_likely_as_any_other() {
        let draws = draws();
        for digits in 1..=MAX_DIGITS {
            let count = draws.iter().filter(|number| number.digits() == digits).count();
            assert!((850..=1150).contains(&count), "{count} of 30000 have {digits} digits");
        }
    }

    #[test]
    fn each_first_and_last_digit_occurs() {
        let draws = draws();
        let single = |number: &&Number| number.digits() == 1;
        for digit in b'0'..=b'9' {
            assert!(draws.iter().filter(single).any(|number| number.as_bytes() == [digit]));
            assert!(draws.iter().any(|number| number.digits() == 30 && number.as_bytes()[29] == digit));
            let first =
                draws.iter().filter(|number| !single(number)).any(|number| number.as_bytes()[0] == digit);
            assert_eq!(first, digit != b'0', "as the first of several digits: {}", char::from(digit));
        }
    }

    #[test]
    fn a_third_is_even_or_odd_and_none_is_negative() {
        let draws = draws();
        let count = |class| draws.iter().filter(|number| number.class() == class).count();
        for class in [Class::Even, Class::Odd] {
            assert!((4_500..=5_500).contains(&count(class)), "{class:?}: {}", count(class));
        }
        assert!(draws.iter().all(|number| !number.as_str().starts_with('-')));
    }
}
