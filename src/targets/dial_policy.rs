//! Which addresses may be dialled: what the inventory names, less what no console ever lives at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Refuses link-local, metadata, multicast and our own listeners. Applied after names are resolved, to the
/// very address that is then connected to.
#[derive(Clone, Debug, Default)]
pub struct DialPolicy {
    own: Vec<SocketAddr>,
}

/// Why an address is never dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// 0.0.0.0 or `::`, which would reach ourselves.
    #[error("unspecified address")]
    Unspecified,
    /// Multicast or broadcast.
    #[error("multicast or broadcast address")]
    Multicast,
    /// 169.254.0.0/16 (with the metadata service) or fe80::/10.
    #[error("link-local or metadata address")]
    LinkLocal,
    /// One of our own listeners: a loop.
    #[error("one of this process's own listeners")]
    OwnListener,
    /// Port 0.
    #[error("port 0")]
    Port,
}

impl DialPolicy {
    /// A policy that also refuses `own`, the addresses this process listens on.
    pub fn new(own: Vec<SocketAddr>) -> Self {
        Self { own }
    }

    /// Whether `address` may be dialled.
    pub fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        let ip = address.ip().to_canonical();
        if address.port() == 0 {
            return Err(Forbidden::Port);
        }
        if ip.is_unspecified() {
            return Err(Forbidden::Unspecified);
        }
        if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Forbidden::Multicast);
        }
        if is_link_local(ip) {
            return Err(Forbidden::LinkLocal);
        }
        if self.own.iter().any(|own| reaches(*own, ip, address.port())) {
            return Err(Forbidden::OwnListener);
        }
        Ok(())
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    /// The metadata service's IPv6 address on EC2-compatible clouds; unique-local, so not caught by range.
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA_V6,
    }
}

/// Whether dialling `ip:port` reaches the listener at `own`.
fn reaches(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    if own.port() != port {
        return false;
    }
    let own_ip = own.ip().to_canonical();
    // A wildcard listener is reached by every address of this host: only those can be bound.
    own_ip == ip || (own_ip.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_dialled() {
        let policy =
            DialPolicy::new(vec!["127.0.0.1:6080".parse().unwrap(), "0.0.0.0:8774".parse().unwrap()]);
        let cases: &[(&str, Result<(), Forbidden>)] = &[
            ("127.0.0.1:5900", Ok(())),
            ("10.1.2.3:5900", Ok(())),
            ("[2001:db8::1]:5900", Ok(())),
            ("127.0.0.1:0", Err(Forbidden::Port)),
            ("0.0.0.0:5900", Err(Forbidden::Unspecified)),
            ("[::]:5900", Err(Forbidden::Unspecified)),
            ("169.254.169.254:80", Err(Forbidden::LinkLocal)),
            ("[::ffff:169.254.169.254]:80", Err(Forbidden::LinkLocal)),
            ("[fe80::1]:5900", Err(Forbidden::LinkLocal)),
            ("[fd00:ec2::254]:80", Err(Forbidden::LinkLocal)),
            ("224.0.0.1:5900", Err(Forbidden::Multicast)),
            ("255.255.255.255:5900", Err(Forbidden::Multicast)),
            ("[ff02::1]:5900", Err(Forbidden::Multicast)),
            ("127.0.0.1:6080", Err(Forbidden::OwnListener)),
            ("[::ffff:127.0.0.1]:6080", Err(Forbidden::OwnListener)),
            ("127.0.0.2:6080", Ok(())),
            ("127.0.0.2:8774", Err(Forbidden::OwnListener)),
            ("192.0.2.1:8774", Ok(())),
        ];
        for (address, expected) in cases {
            assert_eq!(policy.check(address.parse().unwrap()), *expected, "{address}");
        }
    }
}
