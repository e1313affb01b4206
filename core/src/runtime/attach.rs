//! Connections over streams that the program brings.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::node::Runtime;
use super::queue::TrafficCounters;
use crate::identity::NodeId;
use crate::protocol::{Address, CommandError, Origin, Remote, Role};
use crate::transport::Brought;

/// What a stream is said to lead to where the transport wants a host: in a WebSocket's request, which
/// must name one.
const HOST: (&str, u16) = ("localhost", 80);

impl Runtime {
    /// Makes a link of a stream, and waits for its handshake.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        stream: Brought,
        role: Role,
    ) -> Result<NodeId, CommandError> {
        let gone = |_| CommandError::brought("it was closed for a newer one, or the node was closed", None);
        let config = &self.config;
        let (patience, guest) = match role {
            Role::Dialler => (config.dial_timeout, None),
            Role::Acceptor => {
                // Without an address, nothing turns anyone away.
                let entered = self.door.enter_unplaced(self.now().mono).ok();
                (
                    config.handshake_timeout,
                    entered.map(|(guest, crowded)| {
                        TrafficCounters::add(&self.traffic.crowded_out, crowded.into());
                        guest
                    }),
                )
            }
        };
        let (opened, opening) = oneshot::channel();
        let runtime = self.clone();
        // A task of its own, so that those who stand in the door for too long can be made to go.
        let number = guest.as_ref().map(|guest| guest.number);
        let work = self.spawn(async move {
            let (remote, transport) = (Remote::default(), &runtime.transport);
            let connection = timeout(patience, async {
                match role {
                    Role::Dialler => transport.connect(stream, remote, &Address::new(HOST.0, HOST.1)).await,
                    Role::Acceptor => transport.answer(stream, remote).await,
                }
            });
            let _ = opened.send((connection.await, guest));
        });
        if let Some(number) = number {
            self.door.is_worked_on(number, work);
        }
        let (connection, guest) = match opening.await.map_err(gone)? {
            (Ok(Ok(connection)), guest) => (connection, guest),
            (Ok(Err(error)), _) => return Err(CommandError::brought(&error.to_string(), None)),
            (Err(_), _) => {
                let problem = format!("no answer within {patience:?}");
                return Err(CommandError::brought(&problem, None));
            }
        };
        if let Some(guest) = &guest {
            guest.is_in();
        }
        let (token, answered) = self.promise();
        self.link_up(connection, Origin::Brought { token, role }, guest);
        answered.await.unwrap_or(Err(CommandError::Closed))
    }
}
