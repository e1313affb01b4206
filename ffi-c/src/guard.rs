//! What stands around the body of every function: nothing that happens inside may harm the program outside.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use node::ErrorCode;
use peernet_bindings::{Error, Wait, check_process};

use crate::status::{PEERNET_OK, peernet_status};

/// What a function does, and so what is checked before it does anything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    /// Touches only what it is given: the pure layer. Works in forked processes too.
    Pure,
    /// Uses nodes, and never waits.
    Use,
    /// Uses nodes, and may wait so long. If it may wait at all, it is refused in callbacks, which would wait for
    /// themselves, even where it would not have to wait this time.
    Wait(Wait),
    /// Takes something out of a queue that callbacks are fed from, or ends it: refused in callbacks.
    Receive,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The last error of a thread. Its text is made when it is asked for: time-outs are frequent, and nobody reads
/// theirs.
#[derive(Default)]
struct Last {
    error: Option<Error>,
    text: CString,
}

/// Runs the body of a function: refuses it where it must not run, catches its panics, and remembers its error.
pub(crate) fn guard(does: Does, body: impl FnOnce() -> Result<(), Error>) -> peernet_status {
    match guarded(does, body) {
        Ok(()) => PEERNET_OK,
        Err(error) => {
            let status = error.code().status();
            remember(error);
            status
        }
    }
}

/// As [`guard`], for a function that returns something else than a status, and `otherwise` if it fails.
pub(crate) fn guard_or<T>(otherwise: T, does: Does, body: impl FnOnce() -> Result<T, Error>) -> T {
    guarded(does, body).unwrap_or_else(|error| {
        remember(error);
        otherwise
    })
}

fn guarded<T>(does: Does, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    quiet();
    let run = || {
        does.check()?;
        body()
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(fault(panic.as_ref())))
}

impl Does {
    fn check(self) -> Result<(), Error> {
        if !matches!(self, Self::Pure) {
            check_process()?;
        }
        let refused = match self {
            Self::Pure | Self::Use | Self::Wait(Wait::Never) => false,
            Self::Wait(_) | Self::Receive => IN_CALLBACK.get(),
        };
        match refused {
            true => Err(Error::new(
                ErrorCode::Reentrant,
                "called within a callback, where it would wait for itself; use a time-out of 0, or another thread",
            )),
            false => Ok(()),
        }
    }
}

/// Runs a callback of the program, which may use the library but not wait for it.
pub(crate) fn in_callback<T>(callback: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_CALLBACK.set(self.0);
        }
    }
    let _restore = Restore(IN_CALLBACK.replace(true));
    callback()
}

/// Keeps panics from printing: a library has nothing to say on its program's standard error. What a panic says
/// becomes the error's message. The hook is that of the library's own standard library.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !cfg!(test) {
            std::panic::set_hook(Box::new(|panic| {
                let _ = PANIC.try_with(|last| last.borrow_mut().replace(panic.to_string()));
            }));
        }
    });
}

fn fault(panic: &(dyn Any + Send)) -> Error {
    let said = PANIC.try_with(RefCell::take).ok().flatten();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::new(ErrorCode::Internal, format!("a fault of peernet, please report it: {said}"))
}

fn remember(error: Error) {
    // A thread that is ending remembers nothing more.
    let _ = LAST.try_with(|last| last.borrow_mut().error = Some(error));
}

/// The text of the thread's last error.
pub(crate) fn last_message() -> *const c_char {
    let text = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        if let Some(error) = last.error.take() {
            last.text = c_text(error.message());
        }
        last.text.as_ptr()
    });
    text.unwrap_or(c"".as_ptr())
}

/// A text as C has it, which ends at the first NUL: those inside become spaces.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', " ")).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::ffi::CStr;
    use std::time::Duration;

    use super::*;
    use crate::status::{PEERNET_ERR_CLOSED, PEERNET_ERR_INTERNAL, PEERNET_ERR_REENTRANT};

    fn message() -> String {
        // SAFETY: the text is this thread's until its next error.
        unsafe { CStr::from_ptr(last_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn panics_and_errors_become_statuses() {
        assert_eq!(message(), "");
        assert_eq!(guard(Does::Use, || Err(Error::closed())), PEERNET_ERR_CLOSED);
        assert_eq!(message(), "the node is closed");
        assert_eq!(guard(Does::Use, || panic!("oops {}", 5)), PEERNET_ERR_INTERNAL);
        assert!(message().contains("oops 5"), "{}", message());
        assert_eq!(guard(Does::Use, || Ok(())), PEERNET_OK);
        assert!(message().contains("oops 5"));
        assert_eq!(guard_or(7, Does::Pure, || Err(Error::new(ErrorCode::Id, "a\0b"))), 7);
        assert_eq!(message(), "a b");
        std::thread::spawn(|| assert_eq!(message(), "")).join().unwrap();
    }

    #[test]
    fn callbacks_may_not_wait() {
        let all = || {
            let wait = |wait| guard(Does::Wait(wait), || Ok(()));
            [
                guard(Does::Use, || Ok(())),
                wait(Wait::Never),
                wait(Wait::AtMost(Duration::from_millis(1))),
                wait(Wait::Forever),
                guard(Does::Receive, || Ok(())),
            ]
        };
        const REFUSED: [peernet_status; 5] =
            [PEERNET_OK, PEERNET_OK, PEERNET_ERR_REENTRANT, PEERNET_ERR_REENTRANT, PEERNET_ERR_REENTRANT];
        assert_eq!(all(), [PEERNET_OK; 5]);
        in_callback(|| {
            assert_eq!(all(), REFUSED);
            in_callback(|| assert_eq!(all(), REFUSED));
            assert_eq!(all(), REFUSED);
            std::thread::spawn(move || assert_eq!(all(), [PEERNET_OK; 5])).join().unwrap();
        });
        assert_eq!(all(), [PEERNET_OK; 5]);
    }
}
