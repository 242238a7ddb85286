//! What happens in a run, as its seed decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::choices::Choices;
use super::names::{self, Name, NameServer, NameWeather, Names};
use super::operator::Action;
use super::oracle::{Options, Oracle, Rules};
use super::servers::{Server, Service, Weather};
use super::trace::Trace;
use super::world::{CONTROL, Event, MICROSECOND, MILLISECOND, SECOND, Stall, World};

const PORT: u16 = 8888;
const WEEK: u64 = 7 * 24 * 3600 * SECOND;

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) rules: Rules,
    pub(super) drain_timeout: u64,
    /// How many rounds each target gets; `None` for no limit.
    pub(super) count: Option<u64>,
    targets: Vec<Planned>,
    reloads: Vec<(u64, Rules)>,
    stop_at: u64,
    stalls: Vec<(u64, Stall)>,
    /// How many requests of a thousand are followed by a stall.
    stalls_in_rounds: u64,
    /// How much goes wrong.
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// How long the network stays the same.
    lasts: u64,
    /// How much of a thousand of the time something is wrong.
    share: u64,
    oddities: u64,
}

/// A target, and its servers' addresses.
#[derive(Clone, Debug)]
struct Planned {
    text: String,
    is_name: bool,
    addresses: Vec<IpAddr>,
}

impl Scenario {
    pub(super) fn choose(choices: &mut Choices) -> Self {
        let targets: Vec<Planned> =
            (1..=choices.between(1, 4)).map(|number| Planned::choose(number, choices)).collect();
        let rules = rules(choices, targets.len());
        let stop_at = rules.interval * choices.between(5, 100) + choices.between(0, SECOND);
        let count = choices.one_in(5).then(|| choices.between(1, 30));
        let reloads =
            if count.is_some() { Vec::new() } else { reloads(choices, &rules, targets.len(), stop_at) };
        let most = *choices.pick(&[0, 2, 12]);
        let stalls =
            (0..most).map(|_| (choices.between(1, stop_at), stall(choices, rules.interval))).collect();
        Self {
            drain_timeout: choices.magnitude(MILLISECOND, 20 * SECOND) / MILLISECOND * MILLISECOND,
            count,
            stalls,
            reloads,
            stop_at,
            stalls_in_rounds: *choices.pick(&[0, 0, 20, 100, 300]),
            trouble: Trouble {
                lasts: choices.magnitude(rules.interval, stop_at.max(rules.interval * 2)),
                share: *choices.pick(&[0, 200, 500, 900]),
                oddities: *choices.pick(&[0, 50, 300, 900]),
            },
            rules,
            targets,
        }
    }

    /// Weeks with a round every two minutes, and a little of everything.
    pub(super) fn of_weeks(choices: &mut Choices, targets: usize, weeks: u64) -> Self {
        let targets: Vec<Planned> =
            (1..=targets as u64).map(|number| Planned::choose(number, choices)).collect();
        let options = Options {
            connect_timeout: 3 * SECOND,
            reply_timeout: 3 * SECOND,
            stall_threshold: MILLISECOND,
            max_age: 10 * SECOND,
            keep: false,
            is_ipv4_only: false,
        };
        let rules = Rules { targets: (0..targets.len()).collect(), interval: 120 * SECOND, options };
        let stop_at = weeks * WEEK + SECOND;
        Self {
            drain_timeout: 5 * SECOND,
            count: None,
            stalls: (0..weeks * 20)
                .map(|_| (choices.between(1, stop_at), stall(choices, rules.interval)))
                .collect(),
            reloads: Vec::new(),
            stop_at,
            stalls_in_rounds: 1,
            trouble: Trouble { lasts: WEEK / 20, share: 100, oddities: 10 },
            rules,
            targets,
        }
    }

    /// The texts of all targets.
    pub(super) fn texts(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.text.clone()).collect()
    }

    /// The world before the client starts.
    pub(super) fn world(&mut self, choices: &mut Choices, trace: Trace) -> World {
        let mut owners = vec![(CONTROL.ip(), None)];
        let mut servers = vec![Self::control(choices)];
        for (number, target) in self.targets.iter().enumerate() {
            for address in &target.addresses {
                owners.push((*address, Some(number)));
                servers.push(self.server(SocketAddr::new(*address, PORT), choices));
            }
        }
        let targets = self.targets.iter().map(|target| (target.text.clone(), target.is_name)).collect();
        let oracle = Oracle::new(targets, &owners, self.rules.clone(), self.count);
        let ends: Vec<(u64, usize)> =
            servers.iter().enumerate().flat_map(|(number, server)| ends_of(number, server)).collect();
        let names = self.names(choices);
        let mut world = World::new(choices.fork(), servers, names, oracle, trace);
        world.stalls_in_rounds = self.stalls_in_rounds;
        for (at, server) in ends {
            world.schedule(at, Event::ServerEnds(server));
        }
        for (at, stall) in &self.stalls {
            world.schedule(*at, Event::Stall(*stall));
        }
        for (at, rules) in &self.reloads {
            world.schedule(*at, Event::Operator(Action::Reload(rules.clone())));
        }
        world.schedule(self.stop_at, Event::Operator(Action::Stop));
        world
    }

    fn control(choices: &mut Choices) -> Server {
        let weather = Weather {
            from: 0,
            service: Service::Serves,
            passes: [true, true],
            delay: (5 * MICROSECOND, 40 * MICROSECOND),
            loss: 0,
            oddities: 0,
        };
        Server { address: CONTROL, weather: vec![weather], choices: choices.fork() }
    }

    fn server(&self, address: SocketAddr, choices: &mut Choices) -> Server {
        let least = choices.magnitude(20 * MICROSECOND, 100 * MILLISECOND);
        let delay = (least, least + choices.magnitude(MICROSECOND, least));
        let mut choices = choices.fork();
        let mut weather: Vec<Weather> = Vec::new();
        let mut from = 0;
        while from < self.stop_at {
            weather.push(self.weather(from, delay, &mut choices));
            from += choices.between(1, 2 * self.trouble.lasts);
        }
        Server { address, weather, choices }
    }

    fn weather(&self, from: u64, delay: (u64, u64), choices: &mut Choices) -> Weather {
        let oddities = self.trouble.oddities;
        let fine = Weather { from, service: Service::Serves, passes: [true, true], delay, loss: 0, oddities };
        if !choices.per_mille(self.trouble.share) {
            return fine;
        }
        let slow = choices.magnitude(10 * MILLISECOND, 5 * SECOND);
        match choices.between(0, 9) {
            0 => Weather { service: Service::Refuses, ..fine },
            1 => Weather { service: Service::Silent, ..fine },
            2 => Weather { service: Service::Unreachable, ..fine },
            3 => Weather { service: Service::NoRoute, ..fine },
            4 => Weather { service: Service::NoDescriptors, ..fine },
            5 => Weather { passes: [false, false], ..fine },
            6 => Weather { passes: [true, false], ..fine },
            7 => Weather { passes: [false, true], ..fine },
            8 => Weather { delay: (slow, slow * 2), ..fine },
            _ => Weather { loss: choices.magnitude(10, 900), ..fine },
        }
    }

    fn names(&self, choices: &mut Choices) -> Names {
        let targets = self.targets.iter().filter(|target| target.is_name);
        let names = targets.map(|target| self.name(target, choices)).collect();
        let servers = (1..=choices.between(1, 2)).map(|number| NameServer {
            address: Ipv4Addr::new(203, 0, 113, u8::try_from(number).expect("1 or 2")).into(),
            weather: self.name_weather(choices),
            delay: names::delay(choices),
            loss: if choices.one_in(3) { choices.magnitude(10, 900) } else { 0 },
            choices: choices.fork(),
        });
        Names::new(servers.collect(), names)
    }

    fn name(&self, target: &Planned, choices: &mut Choices) -> Name {
        let name = target.text.strip_suffix(":8888").expect("the port of all").to_owned();
        let mut addresses = vec![(0, target.addresses.clone())];
        while choices.one_in(2) {
            let some = target.addresses.iter().filter(|_| choices.one_in(2)).copied().collect();
            addresses.push((choices.between(1, self.stop_at), some));
        }
        addresses.sort_by_key(|(from, _)| *from);
        Name { name, addresses, ttl: u32::try_from(choices.between(0, 30)).expect("at most 30") }
    }

    fn name_weather(&self, choices: &mut Choices) -> Vec<(u64, NameWeather)> {
        let mut weather = Vec::new();
        let mut from = 0;
        while from < self.stop_at {
            let is_fine = !choices.per_mille(self.trouble.share);
            let bad = [NameWeather::Silent, NameWeather::Fails, NameWeather::Denies];
            weather.push((from, if is_fine { NameWeather::Answers } else { *choices.pick(&bad) }));
            from += choices.between(1, 2 * self.trouble.lasts);
        }
        weather
    }
}

/// When a server's process ends.
fn ends_of(number: usize, server: &Server) -> Vec<(u64, usize)> {
    let changes = server.weather.windows(2);
    changes.filter(|pair| pair[1].service == Service::Refuses).map(|pair| (pair[1].from, number)).collect()
}

impl Planned {
    fn choose(number: u64, choices: &mut Choices) -> Self {
        let last = u8::try_from(number * 10).expect("few targets");
        let ipv4 = |more: u8| IpAddr::from(Ipv4Addr::new(192, 0, 2, last + more));
        let ipv6 =
            |more: u8| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last + more)));
        let one = |address: IpAddr| Self {
            text: SocketAddr::new(address, PORT).to_string(),
            is_name: false,
            addresses: vec![address],
        };
        match choices.between(0, 3) {
            0 => one(ipv6(0)),
            1 => {
                let addresses = (0..3).map(ipv4).chain((0..3).map(ipv6));
                let mut addresses: Vec<IpAddr> = addresses.filter(|_| choices.one_in(2)).collect();
                addresses.push(ipv4(9));
                Self { text: format!("s{number}.example.:{PORT}"), is_name: true, addresses }
            }
            _ => one(ipv4(0)),
        }
    }
}

fn whole_milliseconds(choices: &mut Choices, least: u64, most: u64) -> u64 {
    choices.magnitude(least, most).div_ceil(MILLISECOND) * MILLISECOND
}

fn rules(choices: &mut Choices, targets: usize) -> Rules {
    let options = Options {
        connect_timeout: whole_milliseconds(choices, 50 * MILLISECOND, 10 * SECOND),
        reply_timeout: whole_milliseconds(choices, 50 * MILLISECOND, 10 * SECOND),
        stall_threshold: *choices.pick(&[MILLISECOND, MILLISECOND, 20 * MILLISECOND, 200 * MILLISECOND]),
        max_age: whole_milliseconds(choices, MILLISECOND, 60 * SECOND),
        keep: choices.one_in(3),
        is_ipv4_only: false,
    };
    let interval = whole_milliseconds(choices, 10 * MILLISECOND, 60 * SECOND);
    Rules { targets: (0..targets).collect(), interval, options }
}

fn reloads(choices: &mut Choices, first: &Rules, targets: usize, stop_at: u64) -> Vec<(u64, Rules)> {
    let mut times: Vec<u64> = (0..choices.between(0, 6)).map(|_| choices.between(1, stop_at)).collect();
    times.sort_unstable();
    let mut before = first.clone();
    let mut reloads = Vec::new();
    for at in times {
        let mut other = rules(choices, targets);
        // A run stays a short one.
        other.interval = other.interval.max(stop_at / 100 / MILLISECOND * MILLISECOND);
        let mut next = before.clone();
        match choices.between(0, 3) {
            0 => next.interval = other.interval,
            1 => next.interval = first.interval,
            2 => next.options = other.options,
            _ => next = other,
        }
        before = next.clone();
        reloads.push((at, next));
    }
    reloads
}

fn stall(choices: &mut Choices, interval: u64) -> Stall {
    let most = *choices.pick(&[2 * MILLISECOND, 100 * MILLISECOND, 5 * SECOND, interval * 5]);
    Stall {
        length: choices.magnitude(100 * MICROSECOND, most.max(MILLISECOND)),
        is_busy: choices.one_in(5),
        is_interrupted: choices.one_in(2),
    }
}

/// A stall in the middle of a round.
pub(super) fn stall_soon(world: &mut World) {
    if world.choices.per_mille(world.stalls_in_rounds) {
        let wait = world.choices.magnitude(MICROSECOND, 200 * MILLISECOND);
        let stall = stall(&mut world.choices, SECOND);
        world.schedule(world.now + wait, Event::Stall(stall));
    }
}
