{{/* The pod of every HiPER service. Takes a dict:
     root, component   what for
     role              name of the main container
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
     pause             it is called by others: its end waits until they have left
     account           template that names its service account, if not the one without rights
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
  {{- with include "hiper.tracingEnv" $root }}
  {{- . | nindent 2 }}
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
