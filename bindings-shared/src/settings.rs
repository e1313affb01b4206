//! Bounds and time-outs by their names.

use std::time::Duration;

use peernet::{Config, ErrorCode};

use crate::error::Error;

macro_rules! settings {
    ($($name:ident)*) => {
        /// The names of all settings.
        pub const SETTINGS: &[&str] = &[$(stringify!($name)),*];

        /// Sets what has this name in a [`Config`]: times in milliseconds, sizes in bytes, 1 and 0 for yes and no,
        /// and a negative number for no bound where there need not be one. Whether all go together is checked
        /// when the node is opened. How bodies are compressed is no number, and so not among them.
        ///
        /// ```
        /// let mut config = peernet::Config::lan();
        /// peernet_bindings::set(&mut config, "keep_alive", 2_500)?;
        /// assert_eq!(config.keep_alive, std::time::Duration::from_millis(2_500));
        /// # Ok::<(), peernet_bindings::Error>(())
        /// ```
        ///
        /// # Errors
        /// [`ErrorCode::Config`] if there is no such setting, or it cannot have this value.
        pub fn set(config: &mut Config, name: &str, value: i64) -> Result<(), Error> {
            // All fields: a new one does not compile before it stands here.
            let Config { compression: _, $($name),* } = config;
            let done = match name {
                $(stringify!($name) => $name.set(value),)*
                _ => Err("there is no setting of this name"),
            };
            done.map_err(|problem| Error::new(ErrorCode::Config, format!("{name}: {problem}")))
        }
    };
}

settings! {
    max_peers max_opening max_per_address max_per_range connects_per_minute messages_per_second bytes_per_second
    relays_per_author max_outgoing book_addresses connections ask_interval purge_interval named_dials_per_minute
    trust_lookups forgive_after refuse_for handshake_timeout dial_timeout keep_alive frame_timeout redial_min
    redial_max lookup_timeout max_requests max_requests_per_peer search_time search_routes search_rows
    searches_per_author searches_per_peer found_per_peer fresh_seconds seen_capacity fresh_floor max_authors
    max_frame own_queue relay_queue slow_after stall_timeout inbox_messages inbox_bytes inbox_patience
    flush_interval keep_queue watch_changes watch_bytes close_timeout table_keys table_bytes table_interval
    tombstone_keep
}

/// What a number sets.
trait Setting {
    fn set(&mut self, value: i64) -> Result<(), &'static str>;
}

const NOT_NEGATIVE: &str = "it cannot be negative";

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Setting for $number {
            fn set(&mut self, value: i64) -> Result<(), &'static str> {
                let problem = if value < 0 { NOT_NEGATIVE } else { "so large a number has no place in it" };
                *self = value.try_into().map_err(|_| problem)?;
                Ok(())
            }
        }
    )*};
}

numbers!(u32 u64 usize);

impl Setting for bool {
    fn set(&mut self, value: i64) -> Result<(), &'static str> {
        *self = match value {
            0 => false,
            1 => true,
            _ => return Err("give 1 for yes or 0 for no"),
        };
        Ok(())
    }
}

impl Setting for Duration {
    fn set(&mut self, value: i64) -> Result<(), &'static str> {
        *self = Self::from_millis(u64::try_from(value).map_err(|_| NOT_NEGATIVE)?);
        Ok(())
    }
}

impl<T: Setting + Default> Setting for Option<T> {
    fn set(&mut self, value: i64) -> Result<(), &'static str> {
        if value < 0 {
            *self = None;
            return Ok(());
        }
        let mut bound = T::default();
        bound.set(value)?;
        *self = Some(bound);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_setting() {
        let mut config = Config::default();
        for (name, value) in [
            ("max_peers", 7),
            ("connects_per_minute", 5),
            ("messages_per_second", -1),
            ("redial_max", 1500),
            ("trust_lookups", 1),
        ] {
            set(&mut config, name, value).unwrap();
        }
        let wanted = Config {
            max_peers: 7,
            connects_per_minute: Some(5),
            messages_per_second: None,
            redial_max: Duration::from_millis(1500),
            trust_lookups: true,
            ..Config::default()
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let mut config = Config::default();
        for (name, value) in [
            ("max_peers", -1),
            ("fresh_seconds", 1 << 32),
            ("connects_per_minute", 1 << 32),
            ("redial_max", -1),
            ("trust_lookups", 2),
            ("compression", 1),
            ("", 1),
        ] {
            let error = set(&mut config, name, value).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Config);
            assert!(error.message().starts_with(&format!("{name}: ")), "{error}");
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_name_leads_to_its_setting() {
        for name in SETTINGS {
            let mut config = Config::default();
            set(&mut config, name, 1).unwrap();
            assert_ne!(config, Config::default(), "{name}");
        }
    }
}
