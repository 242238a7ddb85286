//! The scripts of all kinds of peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::choices::Choices;
use super::network::Link;
use super::peers::{Peer, Reading, Step};
use super::scenario::{Scenario, Theme};
use super::world::{Event, MICROSECOND, MILLISECOND, SECOND, World};

type Script = fn(&mut Choices) -> Vec<Step>;

const KINDS: [(&str, Script); 16] = [
    ("peer: original", original),
    ("peer: terminated", terminated),
    ("peer: pipelining", pipelining),
    ("peer: splitting", splitting),
    ("peer: trickling", trickling),
    ("peer: silent", silent),
    ("peer: half a line", half_a_line),
    ("peer: not reading", not_reading),
    ("peer: reading slowly", reading_slowly),
    ("peer: half-closing", half_closing),
    ("peer: resetting", resetting),
    ("peer: closing early", closing_early),
    ("peer: flooding", flooding),
    ("peer: over-long line", over_long),
    ("peer: never closing", never_closing),
    ("peer: gone before accepted", gone),
];

const STALLING: [(&str, Script); 2] =
    [("peer: not reading", not_reading), ("peer: reading slowly", reading_slowly)];
const LINGERING: [(&str, Script); 2] =
    [("peer: over-long line", over_long), ("peer: never closing", never_closing)];

/// Its kind only names it in the coverage, which counts what seeds reach.
const ANY: (&str, Script) = ("peer: terminated", any);

/// Fills the world with peers.
pub(super) fn populate(world: &mut World, scenario: &Scenario) {
    let count = match scenario.theme {
        Theme::Mixed | Theme::Failing => world.choices.size(50, 90),
        Theme::Crowded | Theme::Refusing => world.choices.size(50, 110),
        Theme::Stalling | Theme::Lingering => world.choices.size(120, 260),
        Theme::Few => world.choices.size(1, 3),
    };
    // All at once, or spread over the time.
    let burst = scenario.theme == Theme::Stalling || world.choices.one_in(3);
    for number in 0..count {
        let choices = &mut world.choices;
        let at = choices.below(if burst { scenario.busy_until / 20 } else { scenario.busy_until });
        // Some come while the server drains.
        let at = if choices.one_in(12) { scenario.stop_at + choices.below(SECOND) } else { at };
        // And some while settings change.
        let at = if !scenario.reloads.is_empty() && choices.one_in(6) {
            choices.pick(&scenario.reloads).0 + choices.below(5 * MILLISECOND)
        } else {
            at
        };
        let (mut kind, script) = *match scenario.theme {
            Theme::Stalling if !choices.one_in(4) => choices.pick(&STALLING),
            Theme::Lingering if !choices.one_in(4) => choices.pick(&LINGERING),
            Theme::Few => &ANY,
            _ => choices.pick(&KINDS),
        };
        let steps = script(choices);
        let is_stranger = choices.one_in(scenario.strangers);
        let ip = if is_stranger { strange_address(choices, number) } else { address(choices, number) };
        if is_stranger {
            kind = "peer: stranger";
        }
        let port = u16::try_from(1024 + number).expect("there are few peers");
        let mut link = Link::new(SocketAddr::new(ip, port));
        tune(choices, &mut link, &steps, scenario.theme);
        world.oracle.add_peer(link.address);
        let reaction = choices.magnitude(MICROSECOND, 5 * MILLISECOND);
        let listener = choices.index(scenario.listeners.len());
        world.peers.push(Peer::new(kind, listener, steps, reaction));
        world.links.push(link);
        world.schedule(at, Event::Connect(number));
    }
}

/// The address of a peer that is allowed always or sometimes.
fn address(choices: &mut Choices, number: usize) -> IpAddr {
    let [high, low] = u16::try_from(number).expect("there are few peers").to_be_bytes();
    match choices.below(14) {
        0..=2 => Ipv4Addr::new(192, 0, 2, low).into(),
        3 => Ipv4Addr::new(127, 0, high, low).to_ipv6_mapped().into(),
        4 => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::new(127, 0, high, low).into(),
    }
}

/// The address of a peer that is allowed only where everyone is.
fn strange_address(choices: &mut Choices, number: usize) -> IpAddr {
    let [high, low] = u16::try_from(number).expect("there are few peers").to_be_bytes();
    if choices.one_in(2) {
        Ipv4Addr::new(10, 0, high, low).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
    }
}

/// Chooses sizes of queues and buffers, in proportion to the bytes that pass through them.
fn tune(choices: &mut Choices, link: &mut Link, steps: &[Step], theme: Theme) {
    let total: usize =
        steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum();
    link.buffer = *choices.pick(&[16 * 1024, 16 * 1024, 4 * 1024, 64 * 1024]);
    link.peer_buffer = (*choices.pick(&[64 * 1024, 4 * 1024, 256, 1])).max(total / 4);
    link.window = (*choices.pick(&[64 * 1024, 128 * 1024, 8 * 1024, 100])).max(total / 32);
    if theme == Theme::Stalling {
        (link.buffer, link.peer_buffer) = (4 * 1024, 256);
    }
    link.reset_drops = choices.one_in(2);
}

/// A line without a line end: mostly numbers of every class.
fn text(choices: &mut Choices) -> Vec<u8> {
    let digits = |choices: &mut Choices, least, most| -> Vec<u8> {
        (0..choices.size(least, most)).map(|_| choices.byte(b'0', b'9')).collect()
    };
    match choices.below(12) {
        0 => b"-".iter().copied().chain(digits(choices, 1, 30)).collect(),
        1 => b"+000".iter().copied().chain(digits(choices, 1, 12)).collect(),
        2 => [b" \t".to_vec(), digits(choices, 1, 31), b" \r".to_vec()].concat(),
        3 => b"x".to_vec(),
        4 => Vec::new(),
        5 => digits(choices, 31, 64),
        6 => (0..choices.size(1, 64)).map(|_| choices.byte(b' ', b'z')).collect(),
        _ => digits(choices, 1, 20),
    }
}

/// A line with a line end.
fn line(choices: &mut Choices) -> Vec<u8> {
    let mut line = text(choices);
    line.push(b'\n');
    line
}

fn lines(choices: &mut Choices, count: usize) -> Vec<u8> {
    (0..count).flat_map(|_| line(choices)).collect()
}

/// Many requests with short lines and long replies.
fn bulk(choices: &mut Choices, count: usize) -> Vec<u8> {
    let line = *choices.pick(&["\n", "x\n", "7\n", "123456789012\n"]);
    line.repeat(count).into_bytes()
}

fn pause(choices: &mut Choices, most: u64) -> Step {
    Step::Pause(choices.magnitude(10 * MICROSECOND, most))
}

/// Sends the bytes in parts.
fn split(choices: &mut Choices, mut bytes: &[u8], most_parts: usize, longest_pause: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 1..most_parts {
        let (part, rest) = bytes.split_at(choices.size(0, bytes.len()));
        if !part.is_empty() {
            steps.extend([Step::Send(part.to_vec()), pause(choices, longest_pause)]);
        }
        bytes = rest;
    }
    steps.push(Step::Send(bytes.to_vec()));
    steps
}

fn original(choices: &mut Choices) -> Vec<Step> {
    let mut number = text(choices);
    number.push(choices.byte(b'0', b'9'));
    let mut steps = split(choices, &number, 2, 50 * MILLISECOND);
    steps.extend([Step::AwaitEnd, Step::Close]);
    steps
}

fn terminated(choices: &mut Choices) -> Vec<Step> {
    let mut steps = Vec::new();
    for request in 1..=choices.size(1, 6) {
        steps.extend([Step::Send(line(choices)), Step::AwaitReplies(request)]);
        steps.push(pause(choices, SECOND));
    }
    steps.push(Step::Close);
    steps
}

fn pipelining(choices: &mut Choices) -> Vec<Step> {
    let count = *choices.pick(&[2, 10, 100, 600]);
    let bytes = if choices.one_in(2) { bulk(choices, count) } else { lines(choices, count) };
    vec![Step::Send(bytes), Step::AwaitReplies(count), pause(choices, 100 * MILLISECOND), Step::Close]
}

fn splitting(choices: &mut Choices) -> Vec<Step> {
    let count = choices.size(1, 12);
    let bytes = lines(choices, count);
    let mut steps = split(choices, &bytes, 8, 300 * MILLISECOND);
    steps.extend([Step::AwaitReplies(count), Step::Close]);
    steps
}

fn trickling(choices: &mut Choices) -> Vec<Step> {
    let time = choices.magnitude(MILLISECOND, 500 * MILLISECOND);
    let count = choices.size(1, 3);
    let bytes = lines(choices, count);
    let mut steps: Vec<Step> =
        bytes.iter().flat_map(|byte| [Step::Send(vec![*byte]), Step::Pause(time)]).collect();
    steps.extend([Step::AwaitReplies(count), Step::Close]);
    steps
}

fn silent(choices: &mut Choices) -> Vec<Step> {
    vec![Step::AwaitEnd, pause(choices, 3 * SECOND), Step::Close]
}

fn half_a_line(choices: &mut Choices) -> Vec<Step> {
    let mut steps =
        vec![Step::Send(line(choices)), pause(choices, 500 * MILLISECOND), Step::Send(b"12".to_vec())];
    if choices.one_in(2) {
        steps.extend([pause(choices, 2 * SECOND), Step::Send(b"34\n5".to_vec())]);
    }
    steps.extend([Step::AwaitEnd, Step::Close]);
    steps
}

fn not_reading(choices: &mut Choices) -> Vec<Step> {
    let count = *choices.pick(&[1000, 3000, 20_000]);
    if choices.one_in(8) {
        // The kernel has all replies, but the peer does not read them.
        let request = Step::Send(b"7\n".repeat(500));
        let wait = Step::Pause(choices.between(SECOND, 20 * SECOND));
        return vec![Step::Read(Reading::Never), request, Step::Finish, wait, Step::Close];
    }
    let mut steps = vec![Step::Read(Reading::Never), Step::Send(bulk(choices, count))];
    steps.push(Step::Pause(choices.magnitude(200 * MILLISECOND, 20 * SECOND)));
    steps.push(match choices.below(3) {
        0 => Step::Close,
        1 => Step::Reset,
        _ => Step::Read(Reading::Eager),
    });
    steps.extend([Step::AwaitEnd, Step::Close]);
    steps
}

fn reading_slowly(choices: &mut Choices) -> Vec<Step> {
    let count = *choices.pick(&[100, 1000, 3000]);
    let bytes = choices.size(1, 2000);
    let every = choices.magnitude(MILLISECOND, 200 * MILLISECOND);
    let reading = Step::Read(Reading::Slow { bytes, every });
    vec![reading, Step::Send(bulk(choices, count)), Step::AwaitReplies(count), Step::Close]
}

fn half_closing(choices: &mut Choices) -> Vec<Step> {
    let count = choices.size(0, 3);
    let mut bytes = lines(choices, count);
    if choices.one_in(2) {
        bytes.extend(text(choices));
    }
    vec![Step::Send(bytes), Step::Finish, Step::AwaitEnd, Step::Close]
}

fn resetting(choices: &mut Choices) -> Vec<Step> {
    let count = choices.size(0, 3);
    let mut bytes = lines(choices, count);
    bytes.extend(text(choices));
    vec![Step::Send(bytes), pause(choices, 500 * MILLISECOND), Step::Reset]
}

fn closing_early(choices: &mut Choices) -> Vec<Step> {
    let count = choices.size(1, 40);
    vec![Step::Send(lines(choices, count)), pause(choices, 20 * MILLISECOND), Step::Close]
}

fn flooding(choices: &mut Choices) -> Vec<Step> {
    let reading = *choices.pick(&[Reading::Eager, Reading::Never]);
    let count = choices.size(2000, 20_000);
    vec![Step::Read(reading), Step::Send(bulk(choices, count)), Step::AwaitEnd, Step::Close]
}

fn over_long(choices: &mut Choices) -> Vec<Step> {
    let count = choices.size(0, 2);
    let mut bytes = lines(choices, count);
    let length = choices.size(65, 3000);
    bytes.extend(std::iter::repeat_n(b'9', length));
    let mut steps = split(choices, &bytes, 3, 100 * MILLISECOND);
    steps.push(Step::AwaitEnd);
    if choices.one_in(2) {
        steps.extend([pause(choices, 3 * SECOND), Step::Send(b"1\n".to_vec())]);
    }
    steps.extend([pause(choices, 5 * SECOND), Step::Close]);
    steps
}

fn never_closing(choices: &mut Choices) -> Vec<Step> {
    let request = if choices.one_in(2) { text(choices) } else { line(choices) };
    let mut steps = vec![Step::Send(request), Step::AwaitEnd];
    for _ in 0..choices.below(4) {
        steps.extend([pause(choices, SECOND), Step::Send(line(choices))]);
    }
    steps.push(Step::Pause(7200 * SECOND));
    steps
}

fn gone(choices: &mut Choices) -> Vec<Step> {
    let last = if choices.one_in(2) { Step::Reset } else { Step::Close };
    if choices.one_in(2) { vec![last] } else { vec![Step::Send(line(choices)), last] }
}

/// Any steps in any order, but nothing is sent after FIN.
fn any(choices: &mut Choices) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..choices.below(12)).map(|_| any_step(choices)).collect();
    let mut has_finished = false;
    steps.retain(|step| {
        has_finished |= matches!(step, Step::Finish);
        !(has_finished && matches!(step, Step::Send(_)))
    });
    steps.extend([Step::AwaitEnd, Step::Close]);
    steps
}

fn any_step(choices: &mut Choices) -> Step {
    match choices.below(12) {
        0 => Step::Send(line(choices)),
        1 => Step::Send(text(choices)),
        2 => Step::Send((0..choices.size(1, 80)).map(|_| choices.byte(0, u8::MAX)).collect()),
        3 => {
            let count = choices.size(1, 3000);
            Step::Send(bulk(choices, count))
        }
        4 => pause(choices, 400 * MILLISECOND),
        5 => pause(choices, 70 * SECOND),
        6 => Step::AwaitReplies(choices.size(1, 4)),
        7 => Step::AwaitEnd,
        8 => Step::Read(any_reading(choices)),
        9 => Step::Finish,
        10 => Step::Close,
        _ => Step::Reset,
    }
}

fn any_reading(choices: &mut Choices) -> Reading {
    match choices.below(3) {
        0 => Reading::Eager,
        1 => Reading::Never,
        _ => {
            let bytes = choices.size(1, 2000);
            Reading::Slow { bytes, every: choices.magnitude(MILLISECOND, 200 * MILLISECOND) }
        }
    }
}
