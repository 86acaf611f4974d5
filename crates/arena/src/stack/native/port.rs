//! Ports on the loopback address.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::stack::DATABASE_PORT;

pub(super) fn choose_database_port(wanted: Option<u16>, taken: u16) -> anyhow::Result<u16> {
    if let Some(port) = wanted {
        return Ok(port);
    }
    if DATABASE_PORT != taken && port_is_free(DATABASE_PORT) {
        return Ok(DATABASE_PORT);
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether nobody has the port. Does not listen on it, or another arena that looks at the same moment would see it taken.
pub(super) fn port_is_free(port: u16) -> bool {
    let take = || {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    };
    take().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stack::process::wait_until;

    #[test]
    fn the_database_gets_no_port_that_the_api_has() {
        assert_ne!(choose_database_port(None, DATABASE_PORT).unwrap(), DATABASE_PORT);
        assert_eq!(choose_database_port(Some(7), 8).unwrap(), 7);
    }

    #[test]
    fn two_who_look_at_once_do_not_take_the_port_from_each_other() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!port_is_free(port));
        drop(listener);
        // A child that another test is just starting may hold it a moment longer.
        assert!(wait_until(Duration::from_secs(5), || port_is_free(port)));
        let look = || (0..500).all(|_| port_is_free(port));
        std::thread::scope(|scope| {
            let other = scope.spawn(look);
            assert!(look() && other.join().unwrap());
        });
    }
}
