#!/bin/bash
# plain.sh MACHINE [WORKER…]: a cluster of machines of the lab, made with kubeadm and kubectl by hand, as its owner would who does not know hybridctl:
# the control plane, its network, then one worker after the other. The binaries and images are those of the lab's bundle, since there are no others
# here. Prints the kubeconfig of its administrator.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=$(readlink -f bin/lab-bundle)
# this_is MACHINE: the one that on means
this_is() {
  machine=$1
  case $machine in
    x86-*) arch=amd64 address=10.99.0.1${machine#x86-} ;;
    arm-*) arch=arm64 address=10.99.0.2${machine#arm-} ;;
  esac
}
on() { e2e/lab/lab root "$machine" "$@"; }
# ref COMPONENT: the image of the bundle
ref() { grep -o "\"lab.test/kube/$1:[^\"]*\"" "$bundle/bundle.json" | head -1 | tr -d '"'; }

# prepare: the programs, the container runtime and the images
prepare() {
tar -C "$bundle/bin/$arch" -cf - containerd kubernetes | on 'tar -C /usr/local/bin --strip-components=1 -xf -' >&2
tar -C "$bundle/bin/$arch" -cf - runc | on 'tar -C /usr/local/sbin --strip-components=1 -xf -' >&2
tar -C "$bundle/bin/$arch" -cf - cni-plugins | on 'mkdir -p /opt/cni/bin && tar -C /opt/cni/bin --strip-components=1 -xf -' >&2
tar -C e2e/lab/patches -cf - . | on 'mkdir -p /etc/kubernetes/patches && tar -C /etc/kubernetes/patches -xf -' >&2

on "cat >/root/prepare.sh" <<SETUP
set -e
printf 'overlay\nbr_netfilter\nvxlan\n' >/etc/modules-load.d/kubernetes.conf
modprobe -a overlay br_netfilter vxlan
printf 'net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n' >/etc/sysctl.d/kubernetes.conf
sysctl -q -p /etc/sysctl.d/kubernetes.conf
mkdir -p /etc/containerd /etc/systemd/system/kubelet.service.d
cat >/etc/containerd/config.toml <<'F'
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$(ref pause)"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "/usr/local/sbin/runc"
    SystemdCgroup = true
F
cat >/etc/systemd/system/containerd.service <<'F'
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
[Install]
WantedBy=multi-user.target
F
cat >/etc/systemd/system/kubelet.service <<'F'
[Unit]
After=containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \$KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=10
[Install]
WantedBy=multi-user.target
F
systemctl daemon-reload
systemctl enable -q --now containerd
systemctl enable -q kubelet
SETUP
on 'bash /root/prepare.sh' >&2
# What a site has on its machines beforehand where there is no registry: all images, the probe's among them.
tar -C "$bundle/oci" -cf - . | on "cat >/root/images.tar && ctr -n k8s.io images import --local --platform linux/$arch /root/images.tar && rm /root/images.tar" >&2
}

first=$1
this_is "$first"
prepare

dns=$(ref coredns) etcd=$(ref etcd) api=$(ref kube-apiserver)
on "cat >/root/kubeadm.yaml" <<CONFIG
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $address, bindPort: 6443}
nodeRegistration:
  name: $machine
  criSocket: unix:///run/containerd/containerd.sock
  imagePullPolicy: Never
  kubeletExtraArgs: [{name: node-ip, value: $address}]
patches: {directory: /etc/kubernetes/patches}
timeouts: {controlPlaneComponentHealthCheck: 20m, kubernetesAPICall: 10m, etcdAPICall: 10m, kubeletHealthCheck: 10m, tlsBootstrap: 15m}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: ${api##*:}
clusterName: plain
imageRepository: ${api%/*}
encryptionAlgorithm: ECDSA-P256
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.112.0.0/16}
dns: {imageRepository: ${dns%/*}, imageTag: ${dns##*:}}
# a lease held by a slow process must not be lost
controllerManager: {extraArgs: &patient [{name: leader-elect-lease-duration, value: 60s}, {name: leader-elect-renew-deadline, value: 40s}, {name: leader-elect-retry-period, value: 5s}]}
scheduler: {extraArgs: *patient}
etcd: {local: {dataDir: /var/lib/etcd, imageRepository: ${etcd%/*}, imageTag: ${etcd##*:}}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
runtimeRequestTimeout: 10m
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
conntrack: {maxPerCore: 0}
CONFIG
on 'kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=NumCPU,Mem,SystemVerification' >&2
on 'cat >/root/flannel.yaml && KUBECONFIG=/etc/kubernetes/admin.conf kubectl apply -f /root/flannel.yaml' >&2 <<FLANNEL
apiVersion: v1
kind: Namespace
metadata: {name: kube-flannel, labels: {pod-security.kubernetes.io/enforce: privileged}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: flannel, namespace: kube-flannel}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: flannel}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get]}
- {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: flannel}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: flannel}
subjects: [{kind: ServiceAccount, name: flannel, namespace: kube-flannel}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data:
  cni-conf.json: |
    {"name": "cbr0", "cniVersion": "1.0.0", "plugins": [
      {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
      {"type": "portmap", "capabilities": {"portMappings": true}}]}
  net-conf.json: |
    {"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  selector: {matchLabels: {app: flannel}}
  template:
    metadata: {labels: {app: flannel}}
    spec:
      hostNetwork: true
      priorityClassName: system-node-critical
      tolerations: [{operator: Exists}]
      serviceAccountName: flannel
      initContainers:
      - name: install-cni-plugin
        image: $(ref flannel-cni-plugin)
        command: [cp, -f, /flannel, /opt/cni/bin/flannel]
        volumeMounts: [{name: cni-plugin, mountPath: /opt/cni/bin}]
      - name: install-cni
        image: $(ref flannel)
        command: [cp, -f, /etc/kube-flannel/cni-conf.json, /etc/cni/net.d/10-flannel.conflist]
        volumeMounts: [{name: cni, mountPath: /etc/cni/net.d}, {name: cfg, mountPath: /etc/kube-flannel/}]
      containers:
      - name: kube-flannel
        image: $(ref flannel)
        command: [/opt/bin/flanneld, --ip-masq, --kube-subnet-mgr]
        securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: KUBERNETES_SERVICE_HOST, value: "$address"}
        - {name: KUBERNETES_SERVICE_PORT, value: "6443"}
        volumeMounts: [{name: run, mountPath: /run/flannel}, {name: cfg, mountPath: /etc/kube-flannel/}, {name: lock, mountPath: /run/xtables.lock}]
      volumes:
      - {name: run, hostPath: {path: /run/flannel, type: DirectoryOrCreate}}
      - {name: cni-plugin, hostPath: {path: /opt/cni/bin}}
      - {name: cni, hostPath: {path: /etc/cni/net.d}}
      - {name: cfg, configMap: {name: kube-flannel-cfg}}
      - {name: lock, hostPath: {path: /run/xtables.lock, type: FileOrCreate}}
FLANNEL

for worker in "${@:2}"; do
  this_is "$first"
  token=$(on 'KUBECONFIG=/etc/kubernetes/admin.conf kubeadm token create --ttl 1h')
  authority=$(on "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1")
  endpoint=$address:6443
  this_is "$worker"
  prepare
  on 'cat >/root/kubeadm.yaml' <<CONFIG
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken: {token: $token, apiServerEndpoint: "$endpoint", caCertHashes: ["sha256:$authority"]}
nodeRegistration:
  name: $worker
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs: [{name: node-ip, value: $address}]
patches: {directory: /etc/kubernetes/patches}
timeouts: {kubernetesAPICall: 10m, kubeletHealthCheck: 10m, tlsBootstrap: 15m, discovery: 15m}
CONFIG
  on 'kubeadm join --config /root/kubeadm.yaml --ignore-preflight-errors=NumCPU,Mem,SystemVerification' >&2
done
this_is "$first"
on 'KUBECONFIG=/etc/kubernetes/admin.conf kubectl wait nodes --all --for=condition=Ready --timeout=10m' >&2
on 'cat /etc/kubernetes/admin.conf'
