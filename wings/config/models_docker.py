"""The ``docker`` section: engine, network, images and what every container gets (config §7.8)."""

from wings.config.section import Apply, Section, key, must, optional, section
from wings.config.values import (
    Count,
    Flag,
    MapText,
    Mebibytes,
    MemoryKey,
    Microseconds,
    Multiplier,
    Percent,
    Seconds,
    SecretValue,
    Signed,
    Text,
)


class InterfaceV4(Section):
    """IPv4 of the network."""

    enabled: Flag = key(True, "Give the network IPv4.", Apply.BOOT)
    subnet: Text = key("172.18.0.0/16", "Its addresses; the next free range is taken when in use.", Apply.BOOT)
    gateway: Text = key("172.18.0.1", "Its gateway.", Apply.BOOT)


class InterfaceV6(Section):
    """IPv6 of the network."""

    enabled: Flag = key(True, "Give the network IPv6.", Apply.BOOT)
    subnet: Text = key("fdba:17c8:6c94::/64", "Its addresses; the next free range is taken when in use.", Apply.BOOT)
    gateway: Text = key("fdba:17c8:6c94::1011", "Its gateway.", Apply.BOOT)


class Interfaces(Section):
    """Address families of the network."""

    v4: InterfaceV4 = section(InterfaceV4, "IPv4.")
    v6: InterfaceV6 = section(InterfaceV6, "IPv6.")


class Network(Section):
    """The network of the containers. Most of it matters only while the network does not exist yet."""

    interface: Text = key(
        "172.18.0.1", "Address used for allocations on 127.0.0.1; set when the network is made.", Apply.CONTAINER
    )
    disable_interface_binding: Flag = key(False, "Publish ports on all addresses.", Apply.CONTAINER)
    dns: tuple[Text, ...] = key(("1.1.1.1", "1.0.0.1"), "Name servers of containers.", Apply.CONTAINER)
    dns_options: tuple[Text, ...] = key(
        ("ndots:0", "timeout:2", "attempts:3", "single-request-reopen"),
        "Resolver options of containers.",
        Apply.CONTAINER,
    )
    name: Text = key("calagopus_nw", "Network that is used, and made when missing; at most 15 characters.", Apply.BOOT)
    ispn: Flag = key(False, "Allocations on 127.0.0.1 get no port; set from the driver.", Apply.CONTAINER)
    driver: Text = key("bridge", "Driver of a network that is made.", Apply.BOOT)
    mode: Text = key(
        "calagopus_nw",
        "Network mode of containers, normally the name above. Pterodactyl calls it network_mode.",
        Apply.CONTAINER,
    )
    is_internal: Flag = key(False, "Make the network without a way out.", Apply.BOOT)
    enable_icc: Flag = key(True, "Let containers reach one another.", Apply.BOOT)
    network_mtu: Count = key(1500, "Packet size of the network.", Apply.BOOT)
    interfaces: Interfaces = section(Interfaces, "Address families of the network.")


class Registry(Section):
    """Credentials of one image registry."""

    username: Text = must("Account.")
    password: SecretValue = must("Password or access token.")


class RegistryImageFetchCache(Section):
    """How often images are pulled."""

    enabled: Flag = key(True, "Do not pull an image again while it is fresh.")
    duration: Seconds = key(300, "How long an image stays fresh.")
    background_refresh: Flag = key(False, "Start with the image at hand and pull meanwhile.")


class Ulimit(Section):
    """One resource limit of containers."""

    name: Text = must("Name, such as nofile.")
    soft: Signed = must("Soft limit; -1 = none.")
    hard: Signed = must("Hard limit; -1 = none.")


class CfsBurst(Section):
    """Short use of more processor time than the limit."""

    enabled: Flag = key(True, "Let containers save up unused processor time.", Apply.CONTAINER)
    multiple: Multiplier = key(1.0, "How much they may save, as a share of their limit; at most 1.", Apply.CONTAINER)


class StartupBoost(Section):
    """No processor limit while a server starts."""

    enabled: Flag = key(False, "Apply the processor limit only once a server is up.", Apply.CONTAINER)
    timeout: Seconds = key(120, "Apply it after this time at the latest.", Apply.CONTAINER)
    max_concurrent: Count = key(3, "Servers that may start like this at a time.")


class InstallerLimits(Section):
    """What installations get at least."""

    timeout: Seconds = key(1800, "Longest time of an installation; 0 = no limit.")
    memory: Mebibytes = key(1024, "Least memory of an installation.")
    cpu: Percent = key(100, "Least processor time of an installation; 100 = one thread.")


class Overhead(Section):
    """Memory on top of what a server was given."""

    override: Flag = key(False, "Use the multipliers below instead of the built-in ones.", Apply.CONTAINER)
    default_multiplier: Multiplier = key(1.05, "Multiplier of servers larger than every entry.", Apply.CONTAINER)
    multipliers: dict[MemoryKey, Multiplier] = key(
        {}, "Multiplier by memory in MiB: the smallest entry that is not below the server's.", Apply.CONTAINER
    )


class LogConfig(Section):
    """Where container output goes."""

    type: Text = key("local", "Log driver of containers.", Apply.CONTAINER)
    config: dict[str, MapText] = key(
        {"compress": "false", "max-file": "1", "max-size": "5m", "mode": "non-blocking"},
        "Its options; giving any replaces all of these.",
        Apply.CONTAINER,
    )


class Docker(Section):
    """The container engine."""

    socket: Text = key(
        "/var/run/docker.sock", "Unix socket of the engine, or http:// or tcp:// without TLS.", Apply.BOOT
    )
    server_name_in_container_name: Flag = key(False, "Put the server's name into the container's.", Apply.CONTAINER)
    delete_container_on_stop: Flag = key(True, "Remove the container when its server stops.")
    network: Network = section(Network, "The network of the containers.")
    domainname: Text = key("", "Domain name inside containers.", Apply.CONTAINER)
    registries: dict[str, Registry] = key(
        {}, "Credentials by registry: the first entry that the image name starts with is used."
    )
    registry_image_fetch_cache: RegistryImageFetchCache = section(
        RegistryImageFetchCache, "How often images are pulled."
    )
    tmpfs_size: Mebibytes = key(100, "Size of /tmp in containers.", Apply.CONTAINER)
    shm_size: Mebibytes = key(0, "Size of /dev/shm in containers; 0 = as the engine has it.", Apply.CONTAINER)
    container_pid_limit: Count = key(5120, "Processes per container; 0 = no limit.", Apply.CONTAINER)
    container_apply_seccomp: Flag = key(True, "Use our own system call filter.", Apply.CONTAINER)
    container_apparmor_profile: Text = key("", "AppArmor profile of containers.", Apply.CONTAINER)
    container_ulimits: tuple[Ulimit, ...] = key(
        (), "Resource limits of containers: a list of name, soft, hard.", Apply.CONTAINER
    )
    container_sysctls: dict[str, MapText] = key({}, "Kernel settings of containers.", Apply.CONTAINER)
    numa_memory_binding: Flag = key(True, "Keep memory near pinned threads.", Apply.CONTAINER)
    cpu_period: Microseconds = key(100000, "Period of the processor limit; taken as 1000 to 1000000.", Apply.CONTAINER)
    cfs_burst: CfsBurst = section(CfsBurst, "Short use of more processor time than the limit.")
    startup_boost: StartupBoost = section(StartupBoost, "No processor limit while a server starts.")
    installer_limits: InstallerLimits = section(InstallerLimits, "What installations get at least.")
    overhead: Overhead = section(Overhead, "Memory on top of what a server was given.")
    userns_mode: Text = key("", "User namespace mode of containers.", Apply.CONTAINER)
    log_config: LogConfig = section(LogConfig, "Where container output goes.")
    system_ips: tuple[Text, ...] | None = optional(
        "Known from Pelican: addresses to offer for allocations instead of this machine's own."
    )
