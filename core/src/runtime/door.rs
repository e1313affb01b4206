//! Who gets in: bounds on connections that others make, before anything is read from them
//! (`spec/05-limits.md`, L-54 to L-57).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::bucket::{Bucket, Rate};
use crate::config::Config;
use crate::protocol::{Reach, customer};

/// Addresses whose arrivals are counted, at most. Beyond, those are forgotten that came least of late.
const MAX_ARRIVALS: usize = 4096;

/// Where connections are counted in.
pub(super) struct Door {
    max_opening: usize,
    max_per_address: Option<usize>,
    max_per_range: Option<usize>,
    arrivals: Option<Rate>,
    refuse_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Connections whose transport is not ready, oldest first, and what works on it.
    opening: BTreeMap<u64, Option<AbortHandle>>,
    addresses: HashMap<IpAddr, usize>,
    ranges: HashMap<IpAddr, usize>,
    arrivals: HashMap<IpAddr, Arrivals>,
}

/// How often an address has come.
#[derive(Default)]
struct Arrivals {
    bucket: Bucket,
    refused_until: Duration,
}

impl Arrivals {
    /// When nothing of it matters any more.
    fn void_at(&self) -> Duration {
        self.bucket.full_at().max(self.refused_until)
    }
}

/// Why a connection is closed unheard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// There are enough from its address or from around it.
    Enough,
    /// Its address comes too often.
    TooOften,
}

impl Door {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_opening: config.max_opening,
            max_per_address: config.max_per_address,
            max_per_range: config.max_per_range,
            arrivals: config.connects_per_minute.map(|amount| Rate::per_minute(amount.into())),
            refuse_for: config.refuse_for,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone is at the door. Also says whether another, who stood in it for longest, had to go.
    pub(super) fn enter(self: &Arc<Self>, now: Duration, ip: IpAddr) -> Result<(Guest, bool), Turned> {
        self.enter_from(now, Place::of(ip))
    }

    /// As [`Self::enter`], for someone who comes from nowhere that counts.
    pub(super) fn enter_unplaced(self: &Arc<Self>, now: Duration) -> Result<(Guest, bool), Turned> {
        self.enter_from(now, None)
    }

    fn enter_from(self: &Arc<Self>, now: Duration, place: Option<Place>) -> Result<(Guest, bool), Turned> {
        let mut state = self.state();
        if let (Some(place), Some(rate)) = (place, self.arrivals) {
            state.arrive(now, place.address, rate, self.refuse_for)?;
        }
        if let Some(place) = place {
            let is_full = |there: Option<&usize>, most: Option<usize>| {
                most.is_some_and(|most| there.is_some_and(|there| *there >= most))
            };
            let range_full = |range| is_full(state.ranges.get(&range), self.max_per_range);
            if is_full(state.addresses.get(&place.address), self.max_per_address)
                || place.range.is_some_and(range_full)
            {
                return Err(Turned::Enough);
            }
            *state.addresses.entry(place.address).or_default() += 1;
            if let Some(range) = place.range {
                *state.ranges.entry(range).or_default() += 1;
            }
        }
        let crowded = state.opening.len() >= self.max_opening;
        if crowded && let Some((_, Some(oldest))) = state.opening.pop_first() {
            oldest.abort();
        }
        let number = state.next;
        state.next += 1;
        state.opening.insert(number, None);
        Ok((Guest { door: self.clone(), number, place }, crowded))
    }

    /// What works on a guest's transport, if that is not ready yet.
    pub(super) fn is_worked_on(&self, number: u64, by: AbortHandle) {
        if let Some(work) = self.state().opening.get_mut(&number) {
            *work = Some(by);
        }
    }
}

impl State {
    fn arrive(&mut self, now: Duration, address: IpAddr, rate: Rate, pause: Duration) -> Result<(), Turned> {
        if self.arrivals.len() >= MAX_ARRIVALS && !self.arrivals.contains_key(&address) {
            self.arrivals.retain(|_, arrivals| arrivals.void_at() > now);
            let first = self.arrivals.iter().min_by_key(|(_, arrivals)| arrivals.void_at());
            if let Some(first) =
                first.map(|(address, _)| *address).filter(|_| self.arrivals.len() >= MAX_ARRIVALS)
            {
                self.arrivals.remove(&first);
            }
        }
        let arrivals = self.arrivals.entry(address).or_default();
        if now < arrivals.refused_until {
            return Err(Turned::TooOften);
        }
        if !arrivals.bucket.try_take(now, rate) {
            arrivals.refused_until = now.saturating_add(pause);
            return Err(Turned::TooOften);
        }
        Ok(())
    }
}

/// Where a connection comes from, as far as it counts. Nothing is counted of this machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    address: IpAddr,
    /// Of private networks only the single addresses count.
    range: Option<IpAddr>,
}

impl Place {
    fn of(ip: IpAddr) -> Option<Self> {
        let reach = Reach::of(Some(ip));
        let is_global = reach == Reach::Global;
        (reach != Reach::Machine).then(|| Self { address: customer(ip), range: is_global.then(|| range(ip)) })
    }
}

/// The beginning of the /24 of an IPv4 address, of the /48 of an IPv6 one.
fn range(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).into(),
    }
}

/// One connection that others made, counted until this is dropped.
pub(super) struct Guest {
    door: Arc<Door>,
    pub(super) number: u64,
    place: Option<Place>,
}

impl Guest {
    /// Its transport is ready: it stands in nobody's way any more.
    pub(super) fn is_in(&self) {
        self.door.state().opening.remove(&self.number);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.door.state();
        state.opening.remove(&self.number);
        if let Some(place) = self.place {
            leave(&mut state.addresses, place.address);
            if let Some(range) = place.range {
                leave(&mut state.ranges, range);
            }
        }
    }
}

fn leave(counts: &mut HashMap<IpAddr, usize>, place: IpAddr) {
    if let Some(count) = counts.get_mut(&place) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&place);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn door(config: Config) -> Arc<Door> {
        Arc::new(Door::new(&config))
    }

    fn enter(door: &Arc<Door>, seconds: u64, ip: &str) -> Result<(Guest, bool), Turned> {
        door.enter(Duration::from_secs(seconds), ip.parse().unwrap())
    }

    /// L-54, L-55
    #[test]
    fn so_many_from_one_address_and_from_around_it() {
        let config = Config {
            max_per_address: Some(2),
            max_per_range: Some(3),
            max_opening: 100,
            ..Config::default()
        };
        let door = door(config);
        let far = |n| format!("8.8.8.{n}");
        let mut guests = vec![enter(&door, 0, &far(1)).unwrap(), enter(&door, 0, &far(1)).unwrap()];
        assert_eq!(enter(&door, 0, &far(1)).err(), Some(Turned::Enough));
        guests.push(enter(&door, 0, &far(2)).unwrap());
        assert_eq!(enter(&door, 0, &far(3)).err(), Some(Turned::Enough));
        assert!(enter(&door, 0, "8.8.9.1").is_ok());
        // They count for as long as they are there, whether they are in or not.
        guests.iter().for_each(|(guest, _)| guest.is_in());
        assert!(enter(&door, 0, &far(3)).is_err());
        guests.remove(0);
        assert!(enter(&door, 0, &far(3)).is_ok());

        let six = |tail: &str| format!("2606:4700:0:{tail}");
        guests.extend(["1::1", "1::2", "2::1"].map(|tail| enter(&door, 0, &six(tail)).unwrap()));
        assert!(enter(&door, 0, &six("2::2")).is_err(), "the /48 is full");
        assert!(enter(&door, 0, &six("1::3")).is_err(), "the /64 is full");
        // Around a private address everybody may be somebody else; this machine may be anybody.
        guests.extend((1..50).map(|n| enter(&door, 0, &format!("10.0.0.{n}")).unwrap()));
        guests.extend((1..50).map(|_| enter(&door, 0, "127.0.0.1").unwrap()));
        drop(guests);
        let state = door.state();
        assert!(state.addresses.is_empty() && state.ranges.is_empty() && state.opening.is_empty());
    }

    /// L-56
    #[test]
    fn whoever_comes_too_often_waits_outside() {
        let config = Config {
            connects_per_minute: Some(6),
            refuse_for: Duration::from_secs(300),
            ..Config::default()
        };
        let door = door(config);
        for _ in 0..6 {
            assert!(enter(&door, 100, "8.8.8.8").is_ok());
        }
        assert_eq!(enter(&door, 101, "8.8.8.8").err(), Some(Turned::TooOften));
        assert_eq!(enter(&door, 400, "8.8.8.8").err(), Some(Turned::TooOften));
        assert!(enter(&door, 401, "8.8.8.8").is_ok());
        assert!((0..100).all(|_| enter(&door, 100, "127.0.0.1").is_ok()));
        for n in 0..10_000_u32 {
            let _ = door.enter(Duration::from_secs(500), IpAddr::from((0x0808_0000 + n).to_be_bytes()));
        }
        assert_eq!(door.state().arrivals.len(), MAX_ARRIVALS);
    }

    /// L-57
    #[tokio::test]
    async fn whoever_stands_in_the_door_for_longest_makes_room() {
        let door = door(Config { max_opening: 2, ..Config::default() });
        let mut works = Vec::new();
        for n in 0..3 {
            let (guest, crowded) = enter(&door, 0, "127.0.0.1").unwrap();
            assert_eq!(crowded, n == 2);
            let number = guest.number;
            let work = tokio::spawn(async move {
                let _guest = guest;
                std::future::pending::<()>().await;
            });
            door.is_worked_on(number, work.abort_handle());
            works.push(work);
        }
        assert!(works.remove(0).await.unwrap_err().is_cancelled());
        assert_eq!(door.state().opening.len(), 2);
        assert!(works.iter().all(|work| !work.is_finished()));
    }
}
