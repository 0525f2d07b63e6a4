"""What kinds of Linux audit records and of system calls there are, and what ECS calls what they tell.

The words of `event.action`, `event.category` and `event.type` are those of Elastic's integrations (`auditd.log`,
`auditd_manager.auditd`), where ECS allows them: `end` stands for their `stop`.
"""

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """What a record tells: `event.action`, and the lists of categories and types (none: ECS has no word)."""

    action: str
    category: tuple[str, ...] = ()
    type: tuple[str, ...] = ()


def _kinds(rows: str) -> dict[str, Kind]:
    """Read rows of `NAME… action category,… type,…`; a row names all that tell the same."""
    found: dict[str, Kind] = {}
    for row in rows.strip().splitlines():
        *names, action, categories, types = row.split()
        kind = Kind(action, *(() if each == "-" else tuple(each.split(",")) for each in (categories, types)))
        found |= dict.fromkeys(names, kind)
    return found


TYPES: Final = _kinds("""
    ACCT_LOCK locked-account iam user,info
    ACCT_UNLOCK unlocked-account iam user,info
    ADD_GROUP added-group-account-to iam group,creation
    ADD_USER added-user-account iam user,creation
    ANOM_ABEND crashed-program process end
    ANOM_EXEC attempted-execution-of-forbidden-program process start
    ANOM_LINK used-suspicious-link - -
    ANOM_LOGIN_FAILURES failed-log-in-too-many-times-to - -
    ANOM_PROMISCUOUS changed-promiscuous-mode-on-device - -
    APPARMOR_DENIED violated-apparmor-policy intrusion_detection denied
    AVC USER_AVC violated-selinux-policy intrusion_detection denied
    CHGRP_ID changed-group process change
    CHUSER_ID changed-user-id process change
    CONFIG_CHANGE changed-audit-configuration process,configuration change
    CRED_ACQ acquired-credentials authentication info
    CRED_DISP disposed-credentials authentication info
    CRED_REFR refreshed-credentials authentication info
    CRYPTO_KEY_USER negotiated-crypto-key process info
    CRYPTO_SESSION started-crypto-session process info
    DAEMON_ABORT aborted-auditd-startup process end
    DAEMON_ACCEPT remote-audit-connected network connection,start
    DAEMON_CLOSE remote-audit-disconnected network connection,end
    DAEMON_CONFIG changed-auditd-configuration process,configuration change
    DAEMON_END shutdown-audit process end
    DAEMON_ERR audit-error process info
    DAEMON_RECONFIG reconfigured-auditd process,configuration info
    DAEMON_RESUME resumed-audit-logging process change
    DAEMON_ROTATE rotated-audit-logs process change
    DAEMON_START started-audit process start
    DEL_GROUP deleted-group-account-from iam group,deletion
    DEL_USER deleted-user-account iam user,deletion
    FEATURE_CHANGE changed-audit-feature configuration change
    GRP_AUTH authenticated-to-group authentication info
    GRP_CHAUTHTOK changed-group-password iam group,change
    GRP_MGMT modified-group-account iam group,change
    KERNEL initialized-audit-subsystem process info
    KERN_MODULE loaded-kernel-module driver start
    LOGIN changed-login-id-to authentication start
    MAC_CONFIG_CHANGE changed-selinux-boolean configuration change
    MAC_POLICY_LOAD loaded-selinux-policy configuration access
    MAC_STATUS changed-selinux-enforcement configuration change
    NETFILTER_CFG loaded-firewall-rule-to configuration change
    ROLE_ASSIGN assigned-user-role-to iam user,change
    ROLE_REMOVE removed-user-role-from iam user,change
    SECCOMP violated-seccomp-policy intrusion_detection denied
    SERVICE_START started-service process start
    SERVICE_STOP stopped-service process end
    SOFTWARE_UPDATE package-updated package info
    SYSTEM_BOOT booted-system host start
    SYSTEM_RUNLEVEL changed-to-runlevel host change
    SYSTEM_SHUTDOWN shutdown-system host end
    TTY USER_TTY typed - -
    USER sent-message - -
    USER_ACCT was-authorized authentication info
    USER_AUTH authenticated authentication info
    USER_CHAUTHTOK changed-password iam user,change
    USER_CMD ran-command process start
    USER_END ended-session session end
    USER_ERR error authentication info
    USER_LOGIN logged-in authentication start
    USER_LOGOUT logged-out authentication end
    USER_MGMT modified-user-account iam user,change
    USER_START started-session session start
    USYS_CONFIG changed-configuration configuration change
""")
"""By type of record; of all others the action is the type in lower case."""

SYSCALLS: Final = _kinds("""
    execve execveat executed process start
    accept accept4 accepted-connection-from network connection,start
    bind bound-socket network start
    connect connected-to network connection,start
    listen listen-for-connections network start
    open openat openat2 opened-file file access
    creat truncate ftruncate fallocate opened-file file change
    mkdir mkdirat created-directory file creation
    link linkat hard-linked file creation
    symlink symlinkat symlinked file creation
    mknod mknodat make-device file creation
    rename renameat renameat2 renamed file change
    rmdir unlink unlinkat deleted file deletion
    chmod fchmod fchmodat fchmodat2 changed-file-permissions-of file change
    chown fchown lchown fchownat changed-file-ownership-of file change
    setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr changed-file-attributes-of file change
    mount mounted file creation
    umount umount2 unmounted file deletion
    init_module finit_module loaded-kernel-module driver start
    delete_module unloaded-kernel-module driver end
    kill tkill tgkill killed-pid process end
    ptrace ptrace process change
    setuid setreuid setresuid changed-identity-of process change
    setgid setregid setresgid changed-identity-of process change
    adjtimex clock_settime settimeofday stime changed-system-time host change
    sethostname setdomainname changed-system-name host change
""")
"""By name of a system call; of all others the action is `syscall`."""


def _numbers(text: str) -> dict[str, str]:
    words = iter(text.split())
    return dict(zip(words, words, strict=True))


SYSCALL_NAMES: Final = {
    "c000003e": _numbers("""
        2 open 41 socket 42 connect 43 accept 49 bind 50 listen 59 execve 62 kill 76 truncate 77 ftruncate 82 rename
        83 mkdir 84 rmdir 85 creat 86 link 87 unlink 88 symlink 90 chmod 91 fchmod 92 chown 93 fchown 94 lchown
        101 ptrace 105 setuid 106 setgid 113 setreuid 114 setregid 117 setresuid 119 setresgid 133 mknod 159 adjtimex
        164 settimeofday 165 mount 166 umount2 170 sethostname 171 setdomainname 175 init_module 176 delete_module
        188 setxattr 189 lsetxattr 190 fsetxattr 197 removexattr 198 lremovexattr 199 fremovexattr 200 tkill
        227 clock_settime 234 tgkill 257 openat 258 mkdirat 259 mknodat 260 fchownat 263 unlinkat 264 renameat
        265 linkat 266 symlinkat 268 fchmodat 285 fallocate 288 accept4 313 finit_module 316 renameat2 322 execveat
        437 openat2 452 fchmodat2"""),
    "c00000b7": _numbers("""
        5 setxattr 6 lsetxattr 7 fsetxattr 14 removexattr 15 lremovexattr 16 fremovexattr 33 mknodat 34 mkdirat
        35 unlinkat 36 symlinkat 37 linkat 38 renameat 39 umount2 40 mount 45 truncate 46 ftruncate 47 fallocate
        52 fchmod 53 fchmodat 54 fchownat 55 fchown 56 openat 105 init_module 106 delete_module 112 clock_settime
        117 ptrace 129 kill 130 tkill 131 tgkill 143 setregid 144 setgid 145 setreuid 146 setuid 147 setresuid
        149 setresgid 161 sethostname 162 setdomainname 170 settimeofday 171 adjtimex 198 socket 200 bind 201 listen
        202 accept 203 connect 221 execve 242 accept4 273 finit_module 276 renameat2 281 execveat 437 openat2
        452 fchmodat2"""),
}
"""Names of system calls by architecture (x86_64, aarch64) and number; enriched records say the name themselves."""

TYPE_NAMES: Final = _numbers("""
    1006 LOGIN 1100 USER_AUTH 1101 USER_ACCT 1102 USER_MGMT 1103 CRED_ACQ 1104 CRED_DISP 1105 USER_START 1106 USER_END
    1107 USER_AVC 1108 USER_CHAUTHTOK 1109 USER_ERR 1110 CRED_REFR 1111 USYS_CONFIG 1112 USER_LOGIN 1113 USER_LOGOUT
    1114 ADD_USER 1115 DEL_USER 1116 ADD_GROUP 1117 DEL_GROUP 1123 USER_CMD 1127 SYSTEM_BOOT 1128 SYSTEM_SHUTDOWN
    1129 SYSTEM_RUNLEVEL 1130 SERVICE_START 1131 SERVICE_STOP 1132 GRP_MGMT 1200 DAEMON_START 1201 DAEMON_END
    1300 SYSCALL 1302 PATH 1305 CONFIG_CHANGE 1306 SOCKADDR 1307 CWD 1309 EXECVE 1319 TTY 1320 EOE 1325 NETFILTER_CFG
    1326 SECCOMP 1327 PROCTITLE 1330 KERN_MODULE 1334 BPF 1400 AVC 1403 MAC_POLICY_LOAD 1404 MAC_STATUS
    1700 ANOM_PROMISCUOUS 1701 ANOM_ABEND 2000 KERNEL""")
"""Names of types by number, as the kernel writes them where no auditd runs."""
