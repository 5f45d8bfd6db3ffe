{{/* The pod of every HiPER service. Takes a dict:
     root, component   what for
     values            of the component, defaults filled in
     args              of the program, if the values give none
     command           instead of the values' one
     user              broker user; empty = it does not speak with the broker
     reads             which addresses it is given: env, critic
     grpc              it serves gRPC on 50051
     gpuCaches         it fills caches of compilers and models: HOME is a volume
     models            it reads models
     apiPort           it has an API of its own there
     servesWeights     it hands weights on over HTTP, on 8085
     weightsHost       the host others find them under; empty = the pod's own address
     run               mount of the run's directory: rw, ro, or empty
     data              `data` values of an environment family, or empty
     env, volumes, mounts, initContainers   further ones, as in a pod
     readiness         http (default) or grpc
     nodes             of how many nodes it is one
     firstPod          the one its Service leads to
     config            its run file, if it has one of its own: pods are replaced when it changes */}}
{{- define "hiper.pod" -}}
{{- $root := .root -}}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "hiper.labels" (list $root .component) | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ default (include "hiper.config" $root) .config | sha256sum }}
    {{- with merge (deepCopy $values.podAnnotations) $root.Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "hiper.pod.placement" (list $root .component $values (default "hiper.account" .account)) | nindent 2 }}
  {{- with concat (default list .initContainers) $values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "hiper.image" (list $root $values.image) }}
      imagePullPolicy: {{ default $root.Values.image.pullPolicy $values.image.pullPolicy }}
      command: {{ toJson (default $values.command .command) }}
      args: {{ toJson (default .args $values.args) }}
      {{- include "hiper.pod.env" . | nindent 6 }}
      ports:
        - {name: http, containerPort: 8080}
        {{- if .grpc }}
        - {name: grpc, containerPort: 50051}
        {{- end }}
        {{- with .apiPort }}
        - {name: api, containerPort: {{ . }}}
        {{- end }}
        {{- if .servesWeights }}
        - {name: weights, containerPort: 8085}
        {{- end }}
      {{- include "hiper.pod.probes" . | nindent 6 }}
      resources:
        {{- include "hiper.pod.resources" $values | nindent 8 }}
      securityContext:
        {{- toYaml $values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        {{- include "hiper.pod.mounts" . | nindent 8 }}
    {{- with $values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "hiper.pod.volumes" . | nindent 4 }}
{{- end -}}

{{/* Where and as whom a pod runs. Takes [root, component, values, template that names the service account]. */}}
{{- define "hiper.pod.placement" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include (index . 3) $root }}
automountServiceAccountToken: {{ eq (index . 3) "hiper.controlAccount" }}
# With links, a Service of ours would set variables the program does not know, such as HIPER_BROKER_PORT, and refuses.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := $values.tolerations -}}
{{- if $values.gpu.count -}}
{{- $tolerations = append $tolerations (dict "key" $values.gpu.resourceName "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $selector := include "hiper.selector" (list $root (index . 1)) | fromYaml -}}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $selector)) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "hiper.pod.env" -}}
{{- $root := .root -}}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - {name: HIPER_HTTP_ADDRESS, value: "0.0.0.0:8080"}
  {{- if .grpc }}
  - {name: HIPER_GRPC_ADDRESS, value: "0.0.0.0:50051"}
  {{- end }}
  {{- if or .grpc .reads }}
  - {name: HIPER_GRPC_TOKEN_FILE, value: /etc/hiper/grpc/{{ $root.Values.secrets.grpc.key }}}
  {{- end }}
  {{- if .servesWeights }}
  - {name: HIPER_WEIGHTS__ADDRESS, value: "0.0.0.0:8085"}
  {{- if not .weightsHost }}
  - name: POD_IP
    valueFrom: {fieldRef: {fieldPath: status.podIP}}
  {{- end }}
  - {name: HIPER_WEIGHTS__ADVERTISE, value: "http://{{ default "$(POD_IP)" .weightsHost }}:8085"}
  {{- end }}
  {{- if and (or .grpc .reads) $root.Values.tls.enabled }}
  - {name: HIPER_GRPC_TLS_CERT_FILE, value: /etc/hiper/tls/tls.crt}
  - {name: HIPER_GRPC_TLS_KEY_FILE, value: /etc/hiper/tls/tls.key}
  - {name: HIPER_GRPC_TLS_CA_FILE, value: /etc/hiper/tls/ca.crt}
  {{- end }}
  {{- with .user }}
  {{- include "hiper.pod.brokerEnv" (list $root .) | nindent 2 }}
  {{- end }}
  {{- if has "env" .reads }}
  - name: HIPER_ENV__ADDRESSES
    value: {{ list (printf "dns:///%s:50051" (include "hiper.host" (list $root (printf "env-%s" (include "hiper.playedFamily" $root))))) | toJson | quote }}
  {{- end }}
  {{- if has "critic" .reads }}
  - {name: HIPER_HAE__CRITIC_ADDRESS, value: "{{ include "hiper.host" (list $root "learner") }}:50051"}
  {{- end }}
  {{- if .gpuCaches }}
  - {name: HOME, value: /cache}
  - {name: HF_HOME, value: /cache/huggingface}
  - {name: XDG_CACHE_HOME, value: /cache}
  - {name: TRITON_CACHE_DIR, value: /cache/triton}
  - {name: TORCHINDUCTOR_CACHE_DIR, value: /cache/inductor}
  - {name: VLLM_CACHE_ROOT, value: /cache/vllm}
  {{- if $root.Values.secrets.huggingface.existingSecret }}
  - {name: HF_TOKEN_PATH, value: /etc/hiper/huggingface/{{ $root.Values.secrets.huggingface.key }}}
  {{- end }}
  {{- else }}
  - {name: HOME, value: /tmp}
  {{- end }}
  {{- with concat (default list .env) .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes [root, user]. */}}
{{- define "hiper.pod.brokerEnv" -}}
{{- $root := index . 0 -}}
- {name: HIPER_BROKER__URL, value: {{ include "hiper.brokerUrl" . | quote }}}
- {name: HIPER_BROKER__PASSWORD_FILE, value: /etc/hiper/broker/password}
{{- end -}}

{{- define "hiper.pod.probes" -}}
{{- $alive := dict "httpGet" (dict "path" "/healthz" "port" "http") -}}
{{- $ready := dict "httpGet" (dict "path" "/readyz" "port" "http") -}}
{{- /* A native gRPC probe cannot speak TLS. */ -}}
{{- if and (eq (default "http" .readiness) "grpc") (not .root.Values.tls.enabled) }}{{ $ready = dict "grpc" (dict "port" 50051) }}{{ end -}}
{{- $values := .values -}}
{{- if gt (.nodes | default 1 | int) 1 -}}
{{- $alive = include "hiper.pod.firstNodeProbe" "/healthz" | fromYaml -}}
{{- $ready = include "hiper.pod.firstNodeProbe" "/readyz" | fromYaml -}}
{{- end -}}
{{- $probes := dict -}}
{{- range $name, $handler := dict "startupProbe" $alive "livenessProbe" $alive "readinessProbe" $ready -}}
{{- $probe := index $values $name -}}
{{- if not (or (hasKey $probe "exec") (hasKey $probe "httpGet") (hasKey $probe "tcpSocket") (hasKey $probe "grpc")) -}}
{{- $probe = merge (deepCopy $probe) $handler -}}
{{- end -}}
{{- $_ := set $probes $name $probe -}}
{{- end -}}
{{ toYaml $probes }}
{{- if $values.lifecycle }}
lifecycle:
  {{- toYaml $values.lifecycle | nindent 2 }}
{{- else if and .pause $values.preStopSeconds }}
lifecycle:
  preStop:
    exec:
      command: [python, -c, "import time; time.sleep({{ $values.preStopSeconds }})"]
{{- end }}
{{- end -}}

{{/* Of several nodes the first answers for all; the others are alive while their launcher is. Takes the path. */}}
{{- define "hiper.pod.firstNodeProbe" -}}
exec:
  command:
    - python
    - -c
    - |
      import os, urllib.request
      if os.environ["NODE_RANK"] == "0":
          urllib.request.urlopen("http://127.0.0.1:8080{{ . }}", timeout=3)
{{- end -}}

{{/* Requests and limits, the GPUs with them. Takes the values. */}}
{{- define "hiper.pod.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpu.count -}}
{{- $_ := set $resources "limits" (merge (dict .gpu.resourceName .gpu.count) (default dict $resources.limits)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "hiper.pod.mounts" -}}
{{- $root := .root -}}
- {name: config, mountPath: /etc/hiper/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if or .grpc .reads }}
- {name: grpc-token, mountPath: /etc/hiper/grpc, readOnly: true}
{{- if $root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/hiper/tls, readOnly: true}
{{- end }}
{{- end }}
{{- if .user }}
- {name: broker-password, mountPath: /etc/hiper/broker, readOnly: true}
{{- if include "hiper.brokerCa" $root }}
- {name: broker-ca, mountPath: /etc/hiper/broker-ca, readOnly: true}
{{- end }}
{{- end }}
{{- if .run }}
- {name: run, mountPath: {{ include "hiper.runDir" $root }}{{ if eq .run "ro" }}, readOnly: true{{ end }}}
{{- end }}
{{- if .gpuCaches }}
- {name: cache, mountPath: /cache}
{{- if $root.Values.secrets.huggingface.existingSecret }}
- {name: huggingface, mountPath: /etc/hiper/huggingface, readOnly: true}
{{- end }}
{{- end }}
{{- if and .models $root.Values.storage.models.existingClaim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if .values.gpu.count }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if and .data .data.existingClaim }}
- {name: data, mountPath: {{ .data.mountPath }}, readOnly: true}
{{- end }}
{{- with concat (default list .mounts) .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hiper.pod.volumes" -}}
{{- $root := .root -}}
- name: config
  configMap: {name: {{ include "hiper.name" (list $root "config") }}}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
{{- if or .grpc .reads }}
- name: grpc-token
  secret: {secretName: {{ include "hiper.tokenSecret" (list $root "grpc") }}, defaultMode: 0440}
{{- if $root.Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "hiper.tlsSecret" $root }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with .user }}
{{ include "hiper.pod.brokerVolumes" (list $root .) }}
{{- end }}
{{- if .run }}
- name: run
  persistentVolumeClaim: {claimName: {{ include "hiper.runClaim" $root }}}
{{- end }}
{{- if .gpuCaches }}
- name: cache
  emptyDir: {}
{{- with $root.Values.secrets.huggingface.existingSecret }}
- name: huggingface
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if and .models $root.Values.storage.models.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ $root.Values.storage.models.existingClaim }}, readOnly: true}
{{- end }}
{{- if .values.gpu.count }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .values.gpu.shmSize }}}
{{- end }}
{{- if and .data .data.existingClaim }}
- name: data
  persistentVolumeClaim: {claimName: {{ .data.existingClaim }}, readOnly: true}
{{- end }}
{{- with concat (default list .volumes) .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What a pod needs to log in to the broker: one user's password, and the authority of the server. Takes [root, user]. */}}
{{- define "hiper.pod.brokerVolumes" -}}
{{- $root := index . 0 -}}
- name: broker-password
  secret:
    secretName: {{ include "hiper.brokerSecret" $root }}
    defaultMode: 0440
    items: [{key: {{ include "hiper.brokerKey" . }}, path: password}]
{{- with include "hiper.brokerCa" $root }}
- name: broker-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "hiper.runClaim" -}}
{{- default (include "hiper.name" (list . "run")) .Values.storage.run.existingClaim -}}
{{- end -}}

{{/* Secret with the broker's authority, if it needs one. */}}
{{- define "hiper.brokerCa" -}}
{{- if not .Values.broker.enabled }}{{ .Values.externalBroker.tls.caSecret }}{{ end -}}
{{- end -}}

{{- define "hiper.account" -}}
{{- if .Values.serviceAccount.create }}{{ include "hiper.fullname" . | trunc 63 | trimSuffix "-" }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- define "hiper.controlAccount" -}}
{{- if .Values.serviceAccount.create }}{{ include "hiper.name" (list . "control") }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{/* A Deployment around such a pod; takes its dict. */}}
{{- define "hiper.deployment" -}}
{{- $id := list .root .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "hiper.metadata" $id | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicaCount }}
  {{- end }}
  {{- if .values.gpu.count }}
  # No GPU waits idle for a new pod: an old one goes first.
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  {{- end }}
  selector:
    matchLabels:
      {{- include "hiper.selector" $id | nindent 6 }}
  template:
    {{- include "hiper.pod" . | nindent 4 }}
{{- end -}}

{{/* A Service, without an address of its own where clients must see the pods. Takes the pod's dict. */}}
{{- define "hiper.service" -}}
{{- $id := list .root .component -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "hiper.metadata" (append $id .values.service.annotations) | nindent 2 }}
spec:
  {{- if not .apiPort }}
  clusterIP: None
  {{- end }}
  {{- if .publishNotReady }}
  publishNotReadyAddresses: true
  {{- end }}
  selector:
    {{- include "hiper.selector" $id | nindent 4 }}
    {{- with .firstPod }}
    # The first of several speaks for all of them.
    statefulset.kubernetes.io/pod-name: {{ . }}
    {{- end }}
  ports:
    - {name: http, port: 8080, targetPort: http}
    {{- if .grpc }}
    - {name: grpc, port: 50051, targetPort: grpc, appProtocol: grpc}
    {{- end }}
    {{- if .servesWeights }}
    - {name: weights, port: 8085, targetPort: weights}
    {{- end }}
    {{- with .apiPort }}
    - {name: api, port: {{ . }}, targetPort: api}
    {{- end }}
{{- end -}}
