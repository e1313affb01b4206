//! Who is who, and who may join: identities, secrets, the list of those who may, and bans.

use std::ffi::c_char;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use node::ErrorCode;
use node::identity::{KeyPair, NodeId, ProtocolId, Secret};
use node::store::write_owners_text;
use node::wire::Pack;
use node::wire::value::{pack_array_head, pack_map_head};
use peernet_bindings::Error;

use crate::args;
use crate::guard::{Does, guard};
use crate::mesh::{find, peernet_mesh};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// Bytes that the text of an identity takes at most, its NUL included.
pub const PEERNET_IDENTITY_SIZE: usize = 77;
/// Bytes that the text of a secret takes at most, its NUL included.
pub const PEERNET_SECRET_SIZE: usize = 144;

/// The keys that a caller gives as text.
unsafe fn keys(identity: *const c_char) -> Result<KeyPair, Error> {
    // SAFETY: null or ends with a NUL.
    let text = unsafe { args::text(identity, "identity") }?;
    text.parse().map_err(|error: node::identity::KeyError| Error::new(ErrorCode::Identity, error.to_string()))
}

/// Makes new keys for a node, of random numbers of the system, and writes them into the `size` bytes of `identity`;
/// PEERNET_IDENTITY_SIZE are always enough. Whoever has them is that node: keep them to yourself
/// (peernet_write_private). Errors: PEERNET_ERR_TOO_LARGE. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_identity_new(identity: *mut c_char, size: usize) -> peernet_status {
    guard(Does::Pure, || {
        let keys = KeyPair::generate(&mut rand::rng());
        // SAFETY: null or `size` bytes.
        unsafe { args::put_text(identity, size, &keys.to_text(), "identity") }
    })
}

/// Writes the public key of an identity, 32 bytes, to `public_key`: others may know it, and peernet_key_id has the id
/// that it leads to. Errors: PEERNET_ERR_IDENTITY. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_identity_key(
    identity: *const c_char,
    public_key: *mut u8,
) -> peernet_status {
    guard(Does::Pure, || {
        let place = args::out(public_key.cast::<[u8; 32]>(), "public_key")?;
        // SAFETY: a text; a place for 32 bytes, checked above.
        unsafe { place.put(*keys(identity)?.public().as_bytes()) };
        Ok(())
    })
}

/// Writes the id that the node with an identity has in a tls subnet, into the `size` bytes of `id`; PEERNET_ID_SIZE
/// are always enough. `protocol` is the subnet's id (peernet_mesh_protocol, peernet_protocol_id).
/// Errors: PEERNET_ERR_IDENTITY, PEERNET_ERR_ID if `protocol` is none, PEERNET_ERR_TOO_LARGE. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_identity_id(
    identity: *const c_char,
    protocol: *const c_char,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or texts that end with a NUL; null or a place of `size` bytes.
        unsafe {
            let key = keys(identity)?.public();
            let protocol = ProtocolId::parse(args::text(protocol, "protocol")?);
            let protocol = protocol.map_err(|error| Error::new(ErrorCode::Id, error.to_string()))?;
            args::put_text(id, size, NodeId::of_key(&key, &protocol).as_str(), "id")
        }
    })
}

/// Writes the node's identity, as peernet_identity_new does: with `identity` of peernet_options, a node has the same
/// id again. Errors besides: PEERNET_ERR_NEEDS_TLS in subnets where nodes have none, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_identity(
    mesh: peernet_mesh,
    identity: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        let none = || Error::new(ErrorCode::NeedsTls, "only in tls subnets do nodes have keys");
        let keys = open.node.mesh().keys().ok_or_else(none)?;
        // SAFETY: null or `size` bytes.
        unsafe { args::put_text(identity, size, &keys.to_text(), "identity") }
    })
}

/// Makes a new secret for a subnet, of random numbers of the system, and writes it into the `size` bytes of
/// `secret`; PEERNET_SECRET_SIZE are always enough. All nodes of the subnet are opened with it; keep it from everyone
/// else (peernet_write_private). Errors: PEERNET_ERR_TOO_LARGE. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_secret_new(secret: *mut c_char, size: usize) -> peernet_status {
    guard(Does::Pure, || {
        let made = Secret::generate(&mut rand::rng());
        // SAFETY: null or `size` bytes.
        unsafe { args::put_text(secret, size, &made.to_text(), "secret") }
    })
}

/// Writes the secret that `len` bytes are, 16 to 64 random ones, never a password. As peernet_secret_new.
/// Errors besides: PEERNET_ERR_SECRET.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_secret_of_bytes(
    data: *const u8,
    len: usize,
    secret: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or `len` bytes; null or `size` bytes.
        unsafe {
            let made = Secret::from_bytes(args::bytes(data, len, "data")?);
            let made = made.map_err(|error| Error::new(ErrorCode::Secret, error.to_string()))?;
            args::put_text(secret, size, &made.to_text(), "secret")
        }
    })
}

/// Writes a text, such as an identity or a secret, to a new file that only its owner can read: for `identity_file`
/// and `secret_file` of peernet_options. Waits for the disk. Errors: PEERNET_ERR_DATA if there is a file of that name,
/// or it cannot be written. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_write_private(path: *const c_char, text: *const c_char) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or texts that end with a NUL.
        let (path, text) = unsafe { (args::text(path, "path")?, args::text(text, "text")?) };
        let failed = |error| Error::new(ErrorCode::Data, format!("cannot write {path}: {error}"));
        write_owners_text(Path::new(path), text).map_err(failed)
    })
}

/// Changes a joining rule for a peer.
unsafe fn rule(
    mesh: peernet_mesh,
    peer: *const c_char,
    change: impl FnOnce(&node::Mesh, &NodeId) -> Result<(), node::Error>,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or ends with a NUL.
        let peer = unsafe { args::peer(peer) }?;
        Ok(change(find(mesh)?.node.mesh(), &peer)?)
    })
}

/// Lets a node join, by its id, besides those on the list (`allow` of peernet_options). The first on it closes the
/// subnet to all others, and their links with it. Never waits.
/// Errors: PEERNET_ERR_ID, PEERNET_ERR_CONFIG in subnets that prove no ids (all but tls), PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_allow(mesh: peernet_mesh, peer: *const c_char) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { rule(mesh, peer, |mesh, peer| mesh.allow(peer)) }
}

/// Takes a node off the list of those that may join, and closes its links. The list stays: with nobody on it, nobody
/// may join. As peernet_mesh_allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_disallow(mesh: peernet_mesh, peer: *const c_char) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { rule(mesh, peer, |mesh, peer| mesh.disallow(peer)) }
}

/// Lets a node neither join nor be heard for `seconds`: its links are closed, its broadcasts neither told nor relayed.
/// A new ban replaces the old. With a data directory it holds after a restart too; peernet_mesh_flush waits until it is
/// written. As peernet_mesh_allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_ban(
    mesh: peernet_mesh,
    peer: *const c_char,
    seconds: u64,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { rule(mesh, peer, |mesh, peer| mesh.ban(peer, Duration::from_secs(seconds))) }
}

/// Ends a ban. As peernet_mesh_allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_unban(mesh: peernet_mesh, peer: *const c_char) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { rule(mesh, peer, |mesh, peer| mesh.unban(peer)) }
}

/// Appends the bans in force to `bans`: an array of maps with `peer` (text) and `until` (seconds since 1970 UTC).
/// Errors: PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_bans(mesh: peernet_mesh, bans: *mut peernet_writer) -> peernet_status {
    guard(Does::Use, || {
        let found = find(mesh)?.node.mesh().bans();
        // SAFETY: null or a writer that nobody else uses.
        unsafe { peernet_writer::borrow(bans) }?.append(|out| {
            pack_array_head(u32::try_from(found.len()).unwrap_or(u32::MAX), out);
            for ban in found {
                pack_map_head(2, out);
                "peer".pack(out)?;
                ban.peer.as_str().pack(out)?;
                "until".pack(out)?;
                ban.until.duration_since(UNIX_EPOCH).map_or(0, |until| until.as_secs()).pack(out)?;
            }
            Ok(())
        })
    })
}
